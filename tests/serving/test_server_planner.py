"""What a server rolls out and holds, and what it says about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.server_world import (
    SETTINGS,
    START,
    World,
    answers,
    base_model,
    conditions,
    pinned,
    release,
    route,
    served,
    states,
)
from tunegate.manifests.serving import deployment_name
from tunegate.reconcile.modelserver import planner


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
