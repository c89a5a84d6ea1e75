"""Which routes a server opens and closes, with which releases and weights, and what the ledger hears of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.server_world import (
    START,
    World,
    answers,
    conditions,
    pinned,
    release,
    route,
    served,
    states,
)
from tunegate.api.modelrelease import ModelRelease, Override
from tunegate.gateway.routes import RouteTable


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
