"""What a server rolls out, which routes it opens and closes, and what it says about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.server_world import SETTINGS, START, World, base_model, release, served
from tunegate.api.modelrelease import ModelRelease, Override
from tunegate.gateway.routes import RouteTable
from tunegate.manifests.serving import deployment_name
from tunegate.reconcile.modelserver import planner


def conditions(world: World) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in world.status["conditions"]}


def route(world: World, name: str = "extract") -> dict[str, Any]:
    return next(one for one in world.status["routes"] if one["name"] == name)


def answers(world: World, name: str = "extract") -> str:
    """Return the one adapter that a route answers with."""
    (target,) = route(world, name)["targets"]
    return str(target["servedName"])


def pinned(weights: Mapping[str, int]) -> dict[str, Any]:
    """Return a route to releases with their weights."""
    targets = [{"releaseRef": {"name": release}, "weight": weight} for release, weight in weights.items()]
    return {"name": "extract", "track": "Pinned", "targets": targets}


def states(world: World) -> dict[str, str]:
    return {one["releaseRef"]["name"]: one["state"] for one in world.status["adapters"]}


def test_a_server_waits_for_its_base_model() -> None:
    world = World(base=base_model("Hashing"))
    plan = world.step()
    assert world.deployment is None
    assert conditions(world)["Ready"] == ("False", "WaitingForBaseModel")
    assert world.status["phase"] == "Pending"
    assert plan.requeue_after


def test_without_releases_the_base_model_is_served() -> None:
    world = World()
    world.settle()
    assert world.deployment is not None
    assert world.deployment["metadata"]["name"] == deployment_name("server")
    assert world.status["phase"] == "Ready"
    assert route(world)["state"] == "Closed"
    assert "no approved release" in route(world)["reason"]
    assert world.status["endpoint"] == "http://server.team.svc"
    pods = world.deployment["spec"]["selector"]["matchLabels"]
    assert world.status["selector"] == ",".join(f"{key}={value}" for key, value in sorted(pods.items()))
    assert "nobody may ask" in world.status["message"]
    assert world.table.may_open("extract"), "clients are told that it is closed, not that it does not exist"
    assert not world.table.may_open("unknown")


def test_an_approved_release_is_rolled_out_and_its_route_opens_after_the_probe() -> None:
    world = World()
    world.settle()
    world.put(release("one"))
    world.step()
    assert states(world) == {"one": "Loading"}
    assert route(world)["state"] == "Closed"
    world.roll_out()
    world.step()
    assert states(world) == {"one": "Ready"}
    assert (route(world)["state"], answers(world)) == ("Open", served("one"))
    assert conditions(world) == {
        "Ready": ("True", "Serving"),
        "AdaptersVerified": ("True", "Serving"),
        "UpToDate": ("True", "AsOffered"),
    }
    assert world.table.resolve("extract") == served("one")


def test_the_ledger_hears_of_rollout_and_route_before_they_happen() -> None:
    world = World()
    world.settle()
    world.put(release("one"))
    world.ledger_away = True
    before = world.deployment
    world.step()
    assert world.deployment == before
    assert world.routes is not None
    assert world.routes.approved == []
    assert world.listed() == []
    world.ledger_away = False
    world.settle()
    assert (world.events("RolloutStarted"), world.events("AdapterListed")) == (["server"], ["one"])
    assert world.events("RouteOpened") == ["one extract"]


def test_a_settled_server_changes_and_records_nothing() -> None:
    world = World()
    world.put(release("one"), release("two", minute=1))
    world.settle()
    recorded, status, deployment = dict(world.ledger), world.status, world.deployment
    plan = world.step()
    assert (world.ledger, world.status, world.deployment) == (recorded, status, deployment)
    assert not plan.events
    assert not plan.deletes


def test_latest_moves_to_the_newer_release_once_it_is_ready() -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.put(release("two", minute=5))
    world.step()
    assert answers(world) == served("one")
    world.settle()
    assert answers(world) == served("two")
    assert world.events("RouteClosed") == ["one extract"]
    assert states(world) == {"one": "Ready", "two": "Ready"}


@pytest.mark.attack(42)
def test_an_overridden_release_is_the_newest_and_the_gateway_knows_when_it_ends() -> None:
    world = World(table=RouteTable(lambda: START))
    world.put(release("one", minute=9))
    world.settle()
    world.put(overridden("two", granted=10, until=20))
    world.settle()
    assert answers(world) == served("two")
    assert world.routes is not None
    assert world.routes.closes == {served("two"): START + timedelta(minutes=20)}
    world.phase("two", "Serving")
    world.settle()
    assert world.routes.closes == {}, "the quorum was reached: it stays open"
    world.phase("two", "PendingApproval")
    world.settle()
    assert answers(world) == served("one"), "the route falls back to what is approved"
    assert world.table.resolve("extract") == served("one")


def overridden(name: str, *, granted: int, until: int) -> ModelRelease:
    """Return a release that is served without its quorum, between two minutes after the start."""
    made = release(name, "Overridden")
    times = [(START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ") for minute in (granted, until)]
    shown = Override(overrides="1/1", granted_time=times[0], expiration_time=times[1])
    return made.model_copy(update={"status": made.status.model_copy(update={"override": shown})})


def test_a_newer_release_that_is_left_out_does_not_take_the_route() -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.bad_adapters[served("two")] = "the adapter answers like the base model on 8 of 8 probes"
    world.put(release("two", minute=5))
    world.settle()
    assert states(world) == {"one": "Ready", "two": "LeftOut"}
    assert (route(world)["state"], answers(world)) == ("Open", served("one"))
    assert world.status["phase"] == "Degraded"
    assert "like the base model" in world.status["message"]
    assert conditions(world)["AdaptersVerified"] == ("False", "AdapterLeftOut")
    assert world.events("AdapterLeftOut") == ["two"]


def test_an_adapter_whose_probe_measures_something_else_each_time_is_recorded_once() -> None:
    world = World()
    world.put(release("one"))
    for hundredths in range(21, 30):
        world.bad_adapters[served("one")] = f"a probe scores 0.{hundredths} nats per token away from the record"
        world.settle()
        assert f"0.{hundredths}" in world.status["message"]
        world.bad_adapters.clear()
        world.settle()
    assert world.events("AdapterLeftOut") == ["one"]


def test_an_adapter_whose_bytes_changed_closes_its_route_until_they_are_restored() -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.bad_adapters[served("one")] = "content promised as sha256:1 hashes to sha256:2"
    world.settle()
    assert route(world)["state"] == "Closed"
    assert world.status["answers"] == "extract: nobody"
    assert "hashes to" in route(world)["reason"]
    assert world.table.resolve("extract") is None
    world.bad_adapters.clear()
    world.settle()
    assert route(world)["state"] == "Open"
    assert world.status["answers"] == f"extract: {served('one')}"
    assert world.events("RouteClosed") == ["one extract"]
    assert world.events("RouteOpened") == ["one extract", "one extract"]


def test_pinned_is_an_instant_rollback_and_back_again() -> None:
    world = World()
    world.put(release("one"), release("two", minute=5))
    world.settle()
    assert answers(world) == served("two")
    rollouts = len(world.events("RolloutStarted"))
    for name in ("one", "two", "one"):
        world.spec["routes"] = [pinned({name: 100})]
        world.step()
        assert world.table.resolve("extract") == served(name)
    assert len(world.events("RolloutStarted")) == rollouts
    assert world.events("RouteOpened") == ["two extract", "one extract", "two extract", "one extract"]


def weights(world: World) -> dict[str, int]:
    """Return what the gateways answer under the route, and compare it with what the status says."""
    told = {one["servedName"]: one["weight"] for one in route(world)["targets"]}
    open_ = world.table.open.get("extract", {})
    assert told == open_
    return open_


def test_targets_share_a_route_by_weight_and_every_change_is_recorded() -> None:
    world = World()
    world.put(release("one"), release("two", minute=5))
    world.spec["routes"] = [pinned({"one": 95, "two": 5})]
    world.settle()
    assert weights(world) == {served("one"): 95, served("two"): 5}
    assert world.status["answers"] == f"extract: {served('one')} 95 %, {served('two')} 5 %"
    rollouts = len(world.events("RolloutStarted"))
    world.spec["routes"] = [pinned({"two": 50, "one": 50})]
    world.settle()
    assert weights(world) == {served("one"): 50, served("two"): 50}
    world.spec["routes"] = [pinned({"two": 100})]
    world.settle()
    assert weights(world) == {served("two"): 100}
    assert len(world.events("RolloutStarted")) == rollouts, "nothing starts again for a weight"
    assert world.events("RouteOpened") == ["one extract", "two extract"]
    changes = [
        (one.subject.name, one.payload["weight"]) for one in world.ledger.values() if one.type == "RouteWeightChanged"
    ]
    assert changes == [("two", "50"), ("one", "50"), ("two", "100")]
    assert world.events("RouteClosed") == ["one extract"]


def test_a_weight_is_recorded_before_it_moves() -> None:
    world = World()
    world.put(release("one"), release("two", minute=5))
    world.spec["routes"] = [pinned({"one": 100})]
    world.settle()
    world.ledger_away = True
    world.spec["routes"] = [pinned({"one": 95, "two": 5})]
    world.step()
    assert world.table.open == {"extract": {served("one"): 100}}
    world.ledger_away = False
    world.step()
    assert world.table.open == {"extract": {served("one"): 95, served("two"): 5}}


@pytest.mark.attack(81)
@pytest.mark.attack(26)
@pytest.mark.parametrize("gone", ["one", "two"])
def test_a_revoked_target_is_closed_at_once_and_its_share_goes_to_the_others(gone: str) -> None:
    world = World()
    world.put(release("one"), release("two", minute=5))
    world.spec["routes"] = [pinned({"one": 90, "two": 10})]
    world.settle()
    world.registry_away, world.ledger_away = True, True
    world.phase(gone, "Revoked")
    plan = world.step()
    assert (plan.audit, plan.applies, plan.status) == ((), (), None)
    (stays,) = {"one", "two"} - {gone}
    assert {world.table.resolve("extract", f"client-{number}") for number in range(200)} == {served(stays)}
    world.registry_away, world.ledger_away = False, False
    world.settle()
    assert world.events("RouteClosed") == [f"{gone} extract"]
    assert list(weights(world)) == [served(stays)]
    assert f"release {gone} is not approved" in route(world)["reason"]


def test_a_target_that_is_taken_out_leaves_before_the_ledger_answers() -> None:
    world = World()
    world.put(release("one"), release("two", minute=5))
    world.spec["routes"] = [pinned({"one": 50, "two": 50})]
    world.settle()
    world.ledger_away = True
    world.spec["routes"] = [pinned({"one": 100})]
    world.step()
    assert list(world.table.open["extract"]) == [served("one")]
    world.ledger_away = False
    world.settle()
    assert world.events("RouteClosed") == ["two extract"]
    assert weights(world) == {served("one"): 100}


def test_a_target_that_is_left_out_or_of_weight_zero_gets_nothing() -> None:
    world = World(bad_adapters={served("two"): "the adapter answers like the base model"})
    world.put(release("one"), release("two", minute=5), release("three", minute=6))
    world.spec["routes"] = [pinned({"one": 50, "two": 50, "three": 0})]
    world.settle()
    assert weights(world) == {served("one"): 50}
    assert "like the base model" in route(world)["reason"]
    world.phase("one", "Revoked")
    world.settle()
    assert route(world)["state"] == "Closed"
    assert world.table.resolve("extract") is None


def test_pinned_to_what_is_not_approved_or_has_another_name_stays_closed() -> None:
    world = World()
    world.put(release("one", phase="PendingApproval"), release("other", model="translate"))
    for name in ("one", "other", "absent"):
        world.spec["routes"] = [pinned({name: 100})]
        world.settle()
        assert route(world)["state"] == "Closed"
        assert name in route(world)["reason"]


@pytest.mark.attack(22)
def test_a_route_cannot_take_the_base_models_name() -> None:
    world = World(spec={"routes": [{"name": "base"}]})
    world.put(release("one", model="base"))
    world.settle()
    assert "belongs to the base model" in route(world, "base")["reason"]
    assert world.routes is not None
    assert world.routes.routes == {}


@pytest.mark.attack(26)
def test_revoking_closes_the_route_in_a_step_that_waits_for_nothing() -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.registry_away, world.ledger_away = True, True
    world.phase("one", "Revoked")
    plan = world.step()
    assert [obj["kind"] for obj in plan.closes] == ["ConfigMap"]
    assert (plan.audit, plan.applies) == ((), ())
    assert plan.status is None
    assert world.table.resolve("extract") is None
    assert world.table.may_open("extract"), "clients are told that it is closed, not that it does not exist"
    world.registry_away, world.ledger_away = False, False
    world.settle()
    assert world.events("RouteClosed") == ["one extract"]
    assert route(world)["state"] == "Closed"
    assert served("one") not in world.held()


def test_after_a_revocation_the_next_newest_release_answers() -> None:
    world = World()
    world.put(release("one"), release("two", minute=5))
    world.settle()
    world.phase("two", "Revoked")
    world.step()
    assert world.table.resolve("extract") is None
    world.step()
    assert world.table.resolve("extract") == served("one")
    assert world.events("RouteClosed") == ["two extract"]


def test_a_release_whose_documents_do_not_fit_is_left_out_and_stops_nobody() -> None:
    world = World(obstacles={"bad": "the stored statement is not the approved one"})
    world.put(release("bad", minute=9), release("good"))
    world.settle()
    assert states(world) == {"bad": "LeftOut", "good": "Ready"}
    assert answers(world) == served("good")
    assert served("bad") not in world.held()


def test_an_unreadable_registry_stops_rollouts_but_not_what_runs() -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    deployment = world.deployment
    world.registry_away = True
    world.put(release("two", minute=5))
    world.step()
    assert world.deployment == deployment
    assert world.table.resolve("extract") == served("one")
    assert "registry cannot be read" in world.status["message"]
    assert states(world)["one"] == "Ready"


def test_a_crashing_pod_is_reported_with_its_last_words_and_where_to_look() -> None:
    world = World()
    world.step()
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"message": "base model base: model.safetensors is missing\n"}}
    status = {
        "phase": "Pending",
        "initContainerStatuses": [{"name": "check-base", "state": waiting, "lastState": last}],
    }
    world.pod = next(iter(world.documents))
    observed = world.observed()
    pod = {**observed.pods[0], "status": status}
    plan = planner.plan(replace(observed, pods=(pod,), gateways={}), SETTINGS, START)
    assert plan.status is not None
    assert plan.status["phase"] == "Failed"
    assert "model.safetensors is missing" in plan.status["message"]
    assert "kubectl -n team logs pod-0 -c check-base" in plan.status["message"]


def test_zero_replicas_is_no_failure() -> None:
    world = World()
    world.spec["replicas"] = 0
    world.step()
    assert conditions(world)["Ready"] == ("False", "ScaledToZero")


def test_documents_of_old_rollouts_are_removed_when_no_pod_uses_them() -> None:
    world = World()
    for second in range(4):
        world.spec["restartedAt"] = f"2026-11-01T00:00:0{second}Z"
        world.settle()
    assert len(world.documents) == 1
    assert len(world.config_maps) == 2, "the documents that pods mount, and the rollout's own"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["approve", "revoke", "roll", "registry", "ledger", "break", "pin", "latest", "reconcile"]),
        st.sampled_from(["one", "two", "three"]),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_whatever_happens_only_approved_releases_answer_and_the_ledger_knows_each_opening(
    steps: list[tuple[str, str]],
) -> None:
    world = World()
    for minute, (what, name) in enumerate(steps):
        if what == "approve" and name not in world.releases:
            world.put(release(name, minute=minute))
        elif what == "revoke" and name in world.releases:
            world.phase(name, "Revoked")
            world.step()
            assert served(name) not in world.table.open_names
        elif what == "roll" and world.deployment is not None:
            world.roll_out()
        elif what == "registry":
            world.registry_away = not world.registry_away
        elif what == "ledger":
            world.ledger_away = not world.ledger_away
        elif what == "break":
            world.bad_adapters[served(name)] = "probe failed"
        elif what == "pin":
            world.spec["routes"] = [pinned({name: 100})]
        elif what == "latest":
            world.spec["routes"] = [{"name": "extract"}]
        world.step()
        allowed = {one.status.served_name for one in world.releases.values() if one.status.phase == "Approved"}
        assert world.table.open_names <= allowed
        opened = {one.payload["servedName"] for one in world.ledger.values() if one.type == "RouteOpened"}
        routes = (world.routes.routes if world.routes else {}).values()
        assert {name for one in routes for name in one.weights} <= opened
    world.registry_away = world.ledger_away = False
    world.settle()
    for one in world.releases.values():
        if one.status.phase == "Revoked":
            assert one.status.served_name not in world.held()
    before = (dict(world.ledger), world.status, world.deployment)
    world.step()
    assert before == (world.ledger, world.status, world.deployment)


@pytest.mark.attack(60)
def test_an_engine_image_that_is_not_listed_starts_no_pod_and_one_that_was_taken_off_starts_no_new_one() -> None:
    world = World()
    none = replace(SETTINGS, engine_images=())
    step = planner.plan(world.observed(), none, START)
    assert step.status is not None
    ready = next(one for one in step.status["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ImageNotAllowed")
    assert "images.engines" in ready["message"]
    assert step.creates == ()
    assert [one["kind"] for one in step.applies] == ["ConfigMap"], "its routes, all closed"

    world.settle()
    world.put(release("one"))
    later = planner.plan(world.observed(), none, START)
    assert later.creates == ()
    assert "Deployment" not in [one["kind"] for one in later.applies]
    assert later.status is not None
    assert "nothing new is rolled out" in later.status["message"]
