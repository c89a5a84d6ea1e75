"""Adapters are listed for the pods that run: no pod is replaced for them, and what does not fit waits with a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.server_world import SETTINGS, START, World, answers, pinned, release, route, served, states
from tunegate.reconcile.modelserver import planner

CANARY = {"steps": [{"weight": 5, "holdSeconds": 60}], "bounds": {"requests": 20}}


def test_approvals_revocations_and_rollbacks_replace_no_pod() -> None:
    world = World()
    world.settle()
    assert world.deployment is not None
    template, generation = world.deployment["spec"]["template"], world.deployment["metadata"]["generation"]
    world.put(release("one"), release("two", minute=5))
    world.settle()
    world.phase("two", "Revoked")
    world.settle()
    world.spec["routes"] = [pinned({"one": 100})]
    world.settle()
    assert world.table.resolve("extract") == served("one")
    assert world.deployment["spec"]["template"] == template
    assert world.deployment["metadata"]["generation"] == generation
    assert world.events("RolloutStarted") == ["server"]
    assert world.listed() == [served("one")]


def test_an_adapter_that_is_listed_again_is_recorded_again() -> None:
    world = World()
    for phase in ("Approved", "PendingApproval", "Approved"):
        world.put(release("one", phase=phase))
        world.settle()
    assert world.events("AdapterListed") == ["one", "one"]


def test_what_does_not_fit_waits_with_a_reason_and_what_answers_keeps_its_slot() -> None:
    world = World(spec={"routes": [{"name": "extract"}], "maxCpuLoras": 2})
    world.put(*(release(name, minute=minute) for minute, name in enumerate(("one", "two"))))
    world.settle()
    assert answers(world) == served("two")
    world.put(release("three", minute=9))
    world.step()
    assert states(world) == {"one": "Waiting", "two": "Ready", "three": "Loading"}, (
        "the old one answers until the new one can"
    )
    world.settle()
    assert answers(world) == served("three")
    assert states(world) == {"one": "Waiting", "two": "Ready", "three": "Ready"}
    waiting = next(one for one in world.status["adapters"] if one["state"] == "Waiting")
    assert waiting["reason"].startswith("WaitingForSlot: ")
    assert "spec.maxCpuLoras" in waiting["reason"]
    assert f"waiting for a slot (spec.maxCpuLoras): {served('one')}" in world.status["message"]
    world.spec["routes"] = [pinned({"one": 100})]
    world.step()
    assert answers(world) == served("three"), "what answers goes on until the one that is named is loaded"
    world.settle()
    assert answers(world) == served("one"), "a route takes it up"


def one_slot(*names: str, **spec: Any) -> World:
    """Return a world whose engines have one slot, with release one answering, and further releases."""
    world = World(spec={"routes": [{"name": "extract", **spec}], "maxCpuLoras": 1})
    world.put(release("one"))
    world.settle()
    world.put(*(release(name, minute=minute) for minute, name in enumerate(names, 1)))
    return world


def test_a_route_moves_although_what_answers_fills_all_slots() -> None:
    world = one_slot("two")
    world.step()
    assert states(world) == {"one": "Ready", "two": "Loading"}
    world.settle()
    assert answers(world) == served("two")
    assert world.listed() == [served("two")], "the place for a move is free again"
    world.spec["routes"] = [pinned({"one": 100})]
    world.settle()
    assert answers(world) == served("one")


def test_both_releases_of_a_canary_are_held_while_it_steps_and_the_next_one_after_it() -> None:
    world = one_slot("two", canary=CANARY)
    world.settle()
    assert sorted(world.listed()) == [served("one"), served("two")]
    assert route(world)["canary"]["state"] == "Stepping"
    world.put(release("three", minute=9))
    world.settle()
    assert states(world) == {"one": "Ready", "two": "Ready", "three": "Waiting"}


def test_only_a_move_takes_the_place_for_a_move() -> None:
    world = one_slot("two")
    world.spec["routes"] = [{**pinned({"one": 100}), "shadow": {"releaseRef": {"name": "two"}, "percent": 20}}]
    world.put(release("other", model="other", minute=3))
    world.spec["routes"].append({"name": "other"})
    world.settle()
    assert world.listed() == [served("one")]
    assert answers(world) == served("one")
    world.spec["routes"] = [pinned({"one": 50, "two": 50})]
    world.settle()
    assert world.listed() == [served("one")], "two that answer side by side need two slots"


def test_of_several_moves_one_waits_and_says_for_what() -> None:
    world = World(spec={"routes": [{"name": "extract"}, {"name": "other"}], "maxCpuLoras": 2})
    world.put(release("one"), release("old", model="other"))
    world.settle()
    world.put(release("two", minute=2), release("new", model="other", minute=1))
    world.step()
    assert states(world) == {"one": "Ready", "old": "Ready", "two": "Loading", "new": "Waiting"}
    (waiting,) = (one["reason"] for one in world.status["adapters"] if one["state"] == "Waiting")
    assert waiting.startswith("WaitingForSlot: the engines hold 3 other adapters, and the place for a move is taken;")
    world.settle()
    assert (answers(world), answers(world, "other")) == (served("two"), served("new"))


def test_a_move_that_cannot_be_made_does_not_hold_up_another() -> None:
    world = World(spec={"routes": [{"name": "extract"}, {"name": "other"}], "maxCpuLoras": 2})
    world.put(release("one"), release("old", model="other"))
    world.settle()
    world.bad_adapters[served("two")] = "its probe differs"
    world.put(release("two", minute=2), release("new", model="other", minute=1))
    world.settle()
    assert (answers(world), answers(world, "other")) == (served("one"), served("new"))


@pytest.mark.parametrize("registry_away", [False, True])
def test_a_pod_that_was_told_other_bytes_under_an_approved_name_gets_no_route(registry_away: bool) -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.registry_away = registry_away
    seen = world.observed()
    other = [one.model_copy(update={"digest": "sha256:" + "9" * 64}) for one in seen.gateways["pod-0"].adapters]
    told = {"pod-0": seen.gateways["pod-0"].model_copy(update={"adapters": other})}
    plan = planner.plan(replace(seen, gateways=told), SETTINGS, START)
    assert '"routes": {}' in plan.closes[0]["data"]["routes.json"]


@pytest.mark.parametrize(("strategy", "warned"), [("Surge", False), ("Recreate", True)])
def test_a_rollout_by_which_models_go_away_says_so_and_for_how_long(strategy: str, warned: bool) -> None:
    world = World(spec={"routes": [{"name": "extract"}], "strategy": strategy})
    world.put(release("one"))
    world.settle()
    world.spec["restartedAt"] = "2026-11-01T00:00:00Z"
    seen = world.observed()
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:12:00Z"}
    pod = dict(seen.pods[0])
    pod["metadata"] = {**pod["metadata"], "creationTimestamp": "2026-01-01T00:00:00Z"}
    pod["status"] = {"phase": "Running", "conditions": [ready]}
    plan = planner.plan(replace(seen, pods=(pod,)), SETTINGS, START)
    said = [note.message for note in plan.events if note.reason == "ModelsAway"]
    assert bool(said) is warned
    if warned:
        assert "extract, base" in said[0]
        assert "about 12 min" in said[0]
