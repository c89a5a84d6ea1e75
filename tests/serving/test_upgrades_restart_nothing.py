"""An upgrade of the operator restarts no pod of a server by itself; the next rollout or the owner brings what it offers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.support import builders
from tests.support.server_world import SETTINGS, World, release
from tunegate.api.computepool import ComputePool
from tunegate.manifests import engine
from tunegate.manifests.rollouts import ROLLOUT_FILE, stored_rollout
from tunegate.reconcile.modelserver import planner

NEWER = replace(
    SETTINGS,
    operator_image="registry.example/operator@sha256:" + "2" * 64,
    trainer_image="registry.example/trainer@sha256:" + "2" * 64,
)


@pytest.fixture
def world() -> World:
    made = World()
    made.put(release("one"))
    made.settle()
    return made


def template(world: World) -> Mapping[str, Any]:
    assert world.deployment is not None
    found: Mapping[str, Any] = json.loads(json.dumps(world.deployment["spec"]["template"]))
    return found


def images(world: World, field: str) -> dict[str, str]:
    said = world.status[field]["images"] if field == "rollout" else world.status.get(field) or []
    return {one["container"]: one["image"] for one in said}


def up_to_date(world: World) -> dict[str, Any]:
    return next(one for one in world.status["conditions"] if one["type"] == "UpToDate")


def test_another_image_of_the_operator_restarts_nothing_and_is_offered(world: World) -> None:
    before, recorded = template(world), len(world.ledger)
    assert (up_to_date(world)["status"], images(world, "offered")) == ("True", {})

    world.settings = NEWER
    world.settle()

    assert template(world) == before
    assert len(world.ledger) == recorded
    assert images(world, "rollout")["gateway"] == SETTINGS.operator_image
    assert images(world, "offered")["gateway"] == NEWER.operator_image
    condition = up_to_date(world)
    assert (condition["status"], condition["reason"]) == ("False", "NewerOffered")
    assert NEWER.operator_image in condition["message"]
    assert "spec.restartedAt" in condition["message"]


def test_another_way_to_write_a_container_restarts_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = template(world)
    monkeypatch.setattr(engine, "GUARDS", [*engine.GUARDS, "--another-flag"])
    world.settle()
    assert template(world) == before
    assert up_to_date(world)["status"] == "False"


def test_versions_that_alternate_restart_nothing(world: World) -> None:
    before, recorded = template(world), len(world.ledger)
    for settings in (NEWER, SETTINGS, NEWER, SETTINGS):
        world.settings = settings
        world.settle()
        assert template(world) == before
    assert len(world.ledger) == recorded


def test_the_next_rollout_brings_what_is_offered_and_is_recorded(world: World) -> None:
    world.settings = NEWER
    world.settle()
    world.put(release("two", minute=1))
    world.settle()
    assert images(world, "rollout")["gateway"] == SETTINGS.operator_image, "an adapter makes no rollout"
    world.spec["resources"] = {"cpu": "3", "memory": "4Gi"}
    world.settle()
    assert images(world, "rollout")["gateway"] == NEWER.operator_image
    assert images(world, "offered") == {}
    (entry,) = [
        one for one in world.ledger.values() if one.type == "RolloutStarted" and one.payload["server"] == "server"
    ][-1:]
    assert entry.payload["gatewayImage"] == NEWER.operator_image
    assert entry.payload["rollout"] == world.status["rollout"]["digest"]


def test_the_owner_asks_for_what_is_offered_and_it_is_recorded(world: World) -> None:
    world.settings = NEWER
    world.settle()
    recorded = len(world.events("RolloutStarted"))
    world.spec["restartedAt"] = "2026-11-01T00:00:00Z"
    world.settle()
    assert images(world, "rollout")["gateway"] == NEWER.operator_image
    assert up_to_date(world)["status"] == "True"
    assert len(world.events("RolloutStarted")) == recorded + 1

    before = template(world)
    world.settle()
    assert template(world) == before, "asked for once, done once"
    world.spec["restartedAt"] = "2026-11-02T00:00:00Z"
    world.settle()
    assert template(world) != before, "also with the same images"


@pytest.mark.parametrize("change", [{"replicas": 3}, {"strategy": "Recreate"}, {"routes": []}])
def test_what_is_no_matter_of_the_pods_makes_no_rollout(world: World, change: dict[str, Any]) -> None:
    before = template(world)
    world.settings = NEWER
    world.spec |= change
    world.settle()
    assert template(world) == before


REPLACING: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "resources": ({"resources": {"cpu": "3", "memory": "4Gi"}}, {}, {}),
    "tool parser": ({"toolParser": "hermes"}, {}, {}),
    "slots": ({"maxCpuLoras": 5}, {}, {}),
    "answers at once": ({"limits": {"concurrentAnswers": 4}}, {}, {}),
    "size of a body": ({"limits": {"bodyKilobytes": 512}}, {}, {}),
    "certificate": ({"tls": {"secretName": "server-tls"}}, {}, {}),
    "API keys": ({"clients": {"apiKeysSecretName": "keys"}}, {}, {}),
    "node selector": ({}, {"nodeSelector": {"a": "b"}}, {}),
    "tolerations": ({}, {"tolerations": [{"key": "gpu", "operator": "Exists"}]}, {}),
    "registry": ({}, {}, {"registry_host": "other.example"}),
    "pull secret": ({}, {}, {"pull_secrets": ("pull",)}),
}
"""What docs/operate.md says that pods are replaced for: changes of server, pool and the operator's settings."""


@pytest.mark.parametrize("change", list(REPLACING))
def test_what_is_a_matter_of_the_pods_makes_a_rollout(world: World, change: str) -> None:
    spec, pool, chart = REPLACING[change]
    seen = world.observed()
    world.spec = {**world.spec, **spec}
    found = ComputePool.model_validate(builders.make_computepool(**pool))
    changed = replace(seen, server=world.observed().server, pool=found)
    plan = planner.plan(changed, replace(SETTINGS, **chart), world.now)
    assert [entry.type for entry in plan.audit] == ["RolloutStarted"]


def test_a_rollout_that_somebody_altered_is_not_applied(world: World) -> None:
    digest = world.status["rollout"]["digest"]
    (name,) = [name for name, one in world.config_maps.items() if ROLLOUT_FILE in one["data"]]
    assert stored_rollout("server", digest, world.config_maps) is not None
    altered = json.loads(world.config_maps[name]["data"][ROLLOUT_FILE])
    altered["template"]["spec"]["containers"][0]["image"] = "evil"
    world.config_maps[name]["data"][ROLLOUT_FILE] = json.dumps(altered)
    assert stored_rollout("server", digest, world.config_maps) is None
    world.step()
    assert images(world, "rollout")["gateway"] == SETTINGS.operator_image


def test_pods_that_can_take_up_no_adapter_are_made_again(world: World) -> None:
    """Before adapters came and went in a running engine, a server without any had the same inputs and no such container."""
    world.releases.clear()
    world.settle()
    found = stored_rollout("server", world.status["rollout"]["digest"], world.config_maps)
    assert found is not None
    old = json.loads(found.content)
    kept = [one for one in old["template"]["spec"]["initContainers"] if one["name"] != "adapters"]
    old["template"]["spec"]["initContainers"] = kept
    earlier = replace(found, template=old["template"], text=json.dumps(old, sort_keys=True))
    name = f"tunegate-rollout-server-{earlier.digest.removeprefix('sha256:')[:10]}"
    world.config_maps[name] = {"data": {ROLLOUT_FILE: earlier.content}}
    world.status["rollout"]["digest"] = earlier.digest
    world.put(release("one"))
    world.settle()
    assert "adapters" in {one["name"] for one in template(world)["spec"]["initContainers"]}
    assert world.status["rollout"]["digest"] == found.digest


def test_a_rollout_of_a_later_form_is_kept(world: World) -> None:
    """A newer version may write more into the document than this one knows."""
    digest = world.status["rollout"]["digest"]
    found = stored_rollout("server", digest, world.config_maps)
    assert found is not None
    later = replace(found, text=json.dumps({**json.loads(found.content), "laterField": {"a": 1}}, sort_keys=True))
    name = f"tunegate-rollout-server-{later.digest.removeprefix('sha256:')[:10]}"
    world.config_maps[name] = {"data": {ROLLOUT_FILE: later.content}}
    world.status["rollout"]["digest"] = later.digest
    before = template(world)
    world.settle()
    assert template(world) == before
    assert world.status["rollout"]["digest"] == later.digest
