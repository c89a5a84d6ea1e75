"""How a route moves to a newer release in steps, what it waits for, and when it goes back by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.server_world import World, release, served
from tunegate.api.latency import bucket, quantile
from tunegate.api.routes import Bounds
from tunegate.reconcile.modelserver.canary import Counted, judge

ONE, TWO, THREE = map(served, ("one", "two", "three"))
STEPS = [{"weight": 5, "holdSeconds": 60}, {"weight": 25, "holdSeconds": 600}]


def stepped(**changes: Any) -> dict[str, Any]:
    return {"name": "extract", "canary": {"steps": STEPS, "bounds": {"requests": 20}, **changes}}


def beside() -> World:
    """Return a world in which release two has just begun its first step beside release one."""
    world = World(spec={"routes": [stepped()]})
    world.put(release("one"))
    world.settle()
    world.put(release("two", minute=5))
    world.settle()
    return world


def ask(
    world: World, name: str, requests: int = 20, *, failed: int = 0, seconds: float = 1.0, tokens: int = 50
) -> None:
    """Let the gateway count answers of a release."""
    for number in range(requests):
        asked = world.table.traffic.begin("extract", served(name))
        asked.begun -= seconds
        asked.tokens, asked.failed, asked.finished = tokens, number < failed, number >= failed
        asked.end()


def later(world: World, seconds: float) -> None:
    world.now += timedelta(seconds=seconds)
    world.step()


def weights(world: World) -> dict[str, int]:
    return world.table.open["extract"]


def canary(world: World) -> dict[str, Any]:
    (route,) = world.status["routes"]
    return dict(route.get("canary") or {})


def shares(world: World) -> list[tuple[str, str, str]]:
    """Return what the ledger says of shares, oldest first."""
    return [
        (one.type, one.subject.name, one.payload.get("weight", ""))
        for one in world.ledger.values()
        if one.type in ("RouteOpened", "RouteWeightChanged", "RouteClosed", "RouteWentBack")
    ]


def test_a_newer_release_gets_its_share_step_by_step_and_each_is_recorded() -> None:
    world = beside()
    assert weights(world) == {ONE: 95, TWO: 5}
    assert (canary(world)["step"], canary(world)["candidate"], canary(world)["stable"]) == (1, TWO, ONE)
    assert world.status["answers"] == f"extract: {ONE} 95 %, {TWO} 5 %"
    ask(world, "one")
    ask(world, "two")
    later(world, 59)
    assert weights(world) == {ONE: 95, TWO: 5}, "a step lasts as long as it says"
    later(world, 2)
    assert weights(world) == {ONE: 75, TWO: 25}
    later(world, 601)
    assert weights(world) == {ONE: 75, TWO: 25}, "answers of an earlier step do not count for the next one"
    ask(world, "one")
    ask(world, "two")
    later(world, 1)
    assert weights(world) == {TWO: 100}
    assert canary(world) == {}
    world.settle()
    assert shares(world) == [
        ("RouteOpened", "one", "100"),
        ("RouteWeightChanged", "one", "95"), ("RouteOpened", "two", "5"),
        ("RouteWeightChanged", "one", "75"), ("RouteWeightChanged", "two", "25"),
        ("RouteClosed", "one", ""), ("RouteWeightChanged", "two", "100"),
    ]  # fmt: skip


@pytest.mark.parametrize(("asked", "who"), [("one", "the newer release"), ("two", "the stable release")])
def test_with_too_few_answers_a_step_goes_on_and_says_what_it_waits_for(asked: str, who: str) -> None:
    world = beside()
    ask(world, asked)
    ask(world, "two" if asked == "one" else "one", 19)
    later(world, 3600)
    assert weights(world) == {ONE: 95, TWO: 5}
    assert canary(world)["message"] == f"step 1 of 2: 20 answers by {who} are needed to judge"


BAD: dict[str, dict[str, Any]] = {"errors": {"failed": 4}, "latency": {"seconds": 3.0}, "tokens": {"tokens": 120}}


@pytest.mark.parametrize("bound", BAD)
def test_a_broken_bound_goes_back_without_waiting_for_the_ledger_and_is_recorded_after(bound: str) -> None:
    world = beside()
    ask(world, "one")
    ask(world, "two", **BAD[bound])
    world.ledger_away = True
    plan = world.step()
    assert (plan.audit, plan.applies, plan.status) == ((), (), None)
    assert list(weights(world)) == [ONE]
    world.ledger_away = False
    world.settle()
    assert weights(world) == {ONE: 100}
    assert (canary(world)["state"], canary(world)["step"]) == ("WentBack", 1)
    assert canary(world)["reason"].startswith(f"{bound}: ")
    assert [entry[:2] for entry in shares(world)][-3:] == [
        ("RouteClosed", "two"), ("RouteWentBack", "two"), ("RouteWeightChanged", "one"),
    ]  # fmt: skip
    assert any("went back" in event.message for event in plan.events)


@pytest.mark.parametrize("bound", BAD)
def test_what_went_back_is_not_tried_again_until_a_person_resumes(bound: str) -> None:
    world = beside()
    ask(world, "one")
    ask(world, "two", **BAD[bound])
    world.settle()
    recorded = dict(world.ledger)
    for _ in range(3):
        later(world, 100_000)
        world.roll_out()
    assert weights(world) == {ONE: 100}
    assert world.ledger == recorded
    assert "tunegate route resume" in world.status["routes"][0]["reason"]
    world.spec["routes"] = [stepped(resumedAt="2026-01-01T08:00:00Z")]
    world.settle()
    assert weights(world) == {ONE: 95, TWO: 5}
    ask(world, "two", failed=20)
    world.settle()
    assert weights(world) == {ONE: 100}, "resumed once, not each time"
    assert len(world.events("RouteWentBack")) == 2


def test_a_way_back_survives_a_crash_before_anything_was_recorded() -> None:
    world = beside()
    ask(world, "two", failed=3)
    world.step()
    world.table.traffic.follow({})
    world.settle()
    assert weights(world) == {ONE: 100}
    assert world.events("RouteWentBack") == ["two extract"]
    assert "errors: 3 of 20" in canary(world)["reason"]


def test_failures_of_both_releases_are_the_engines_and_go_nowhere() -> None:
    world = beside()
    ask(world, "one", 200, failed=40)
    ask(world, "two", 20, failed=4)
    later(world, 61)
    assert weights(world) == {ONE: 75, TWO: 25}


def test_a_few_failures_among_too_few_answers_go_back_when_no_success_could_make_up_for_them() -> None:
    bounds = Bounds(requests=100, error_percent=2)
    assert not judge(bounds, Counted(requests=4, errors=2), Counted()).broken
    assert judge(bounds, Counted(requests=4, errors=3), Counted()).broken.startswith("errors: 3 of 4")


def test_a_paused_step_stays_and_a_broken_bound_still_goes_back() -> None:
    world = beside()
    world.spec["routes"] = [stepped(paused=True)]
    ask(world, "one")
    ask(world, "two")
    later(world, 3600)
    assert weights(world) == {ONE: 95, TWO: 5}
    assert canary(world)["message"] == "step 1 of 2, paused"
    world.put(release("three", minute=9))
    world.settle()
    assert weights(world) == {ONE: 100}, "the newest release replaces the one that was tried, and waits"
    assert f"paused: {THREE} is newer and waits" in world.status["routes"][0]["reason"]
    world.spec["routes"] = [stepped()]
    world.settle()
    assert weights(world) == {ONE: 95, THREE: 5}
    world.spec["routes"] = [stepped(paused=True)]
    ask(world, "three", failed=9)
    world.settle()
    assert canary(world)["state"] == "WentBack"


@pytest.mark.attack(81)
@pytest.mark.attack(26)
@pytest.mark.parametrize("gone", ["one", "two"])
def test_a_release_that_is_revoked_during_a_step_is_closed_at_once(gone: str) -> None:
    world = beside()
    world.ledger_away = world.registry_away = True
    world.phase(gone, "Revoked")
    world.step()
    (stays,) = {"one", "two"} - {gone}
    assert list(weights(world)) == [served(stays)]
    world.ledger_away = world.registry_away = False
    world.settle()
    assert weights(world) == {served(stays): 100}
    assert canary(world) == {}


def test_what_went_back_answers_only_where_nothing_else_may() -> None:
    world = World(spec={"routes": [stepped()]})
    world.put(release("zero"), release("one", minute=1))
    world.settle()
    world.put(release("two", minute=5))
    world.settle()
    ask(world, "two", failed=9)
    world.settle()
    world.phase("one", "Revoked")
    world.settle()
    assert weights(world) == {served("zero"): 100}
    world.phase("zero", "Revoked")
    world.settle()
    assert weights(world) == {TWO: 100}


def test_a_step_is_kept_while_pods_start_again_and_when_its_routes_are_lost() -> None:
    world = beside()
    assert world.deployment is not None
    world.pod, world.deployment["status"]["readyReplicas"] = None, 0
    later(world, 3600)
    assert canary(world)["step"] == 1
    world.roll_out()
    world.routes = None
    world.settle()
    assert weights(world) == {ONE: 95, TWO: 5}
    assert canary(world)["step"] == 1


def test_a_route_without_steps_moves_at_once() -> None:
    world = World(spec={"routes": [{"name": "extract"}]})
    world.put(release("one"))
    world.settle()
    world.put(release("two", minute=5))
    world.settle()
    assert weights(world) == {TWO: 100}


def test_pinning_ends_a_canary_and_a_step_is_looked_at_more_often_than_a_steady_route() -> None:
    world = beside()
    assert world.step().requeue_after == 5.0
    target = {"releaseRef": {"name": "one"}, "weight": 100}
    world.spec["routes"] = [{**stepped(), "track": "Pinned", "targets": [target]}]
    world.settle()
    assert (weights(world), canary(world)) == ({ONE: 100}, {})
    assert world.step().requeue_after == 30.0


def test_the_numbers_of_the_status_change_once_a_minute() -> None:
    world = beside()
    before = world.status
    ask(world, "two", 7)
    later(world, 30)
    assert world.status == before, "a write with each look would be heard by everybody"
    later(world, 31)
    two, one = canary(world)["measured"]
    assert (two["servedName"], two["requests"], one["requests"]) == (TWO, 7, 0)


@given(st.lists(st.floats(0.002, 1500), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_from_buckets_is_at_most_a_fifth_off(times: list[float], share: float) -> None:
    counts: dict[int, int] = {}
    for one in times:
        counts[bucket(one)] = counts.get(bucket(one), 0) + 1
    exact = sorted(times)[max(0, -(-int(share * 100 * len(times)) // 100) - 1)]
    found = quantile(counts, share)
    assert found is not None
    assert exact / 1.21 <= found <= exact * 1.21


EVENTS = st.lists(
    st.sampled_from(["wait", "good", "bad", "new", "revoke", "restart", "away", "pause", "resume", "crash"]),
    max_size=25,
)


@pytest.mark.attack(81)
@settings(deadline=None, max_examples=25)
@given(EVENTS)
def test_whatever_happens_weights_are_a_step_of_the_plan_and_only_approved_releases_answer(events: list[str]) -> None:
    world = beside()
    number = 0
    for event in events:
        if event == "wait":
            world.now += timedelta(seconds=700)
        elif event in ("good", "bad"):
            for name in world.releases:
                ask(world, name, failed=0 if event == "good" or name == "one" else 9)
        elif event == "new":
            number += 1
            world.put(release(f"r{number}", minute=10 + number))
        elif event == "revoke":
            world.phase(list(world.releases)[-1], "Revoked")
        elif event == "restart":
            world.table.traffic.follow({})
        elif event == "away":
            world.ledger_away = not world.ledger_away
        elif event in ("pause", "resume"):
            world.spec["routes"] = [stepped(paused=event == "pause")]
        elif event == "crash":
            world.status = {**world.status, "routes": []} if number % 2 else world.status
        world.step()
        if world.deployment is not None:
            world.roll_out()
        allowed = {served(name) for name, one in world.releases.items() if one.status.phase == "Approved"}
        assert set(world.table.open.get("extract", {})) <= allowed
        found = sorted(world.table.open.get("extract", {}).values())
        assert found in ([], [5, 95], [25, 75], [100]) or len(found) == 1
    world.ledger_away = False
    world.settle()
    assert bool(world.table.open) == bool(
        {name for name, one in world.releases.items() if one.status.phase == "Approved"}
    )
