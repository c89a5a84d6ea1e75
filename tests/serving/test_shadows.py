"""Which release answers copies of a route's requests, when it stops, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.server_world import SETTINGS, World, pinned, release, served
from tunegate.reconcile.modelserver import planner

ONE, TWO = served("one"), served("two")


def copied(percent: int = 20, **changes: Any) -> World:
    """Return a world in which release two answers copies of what release one is asked."""
    world = World(**changes)
    world.spec["routes"] = [{**pinned({"one": 100}), "shadow": {"releaseRef": {"name": "two"}, "percent": percent}}]
    world.put(release("one"), release("two", minute=5))
    world.settle()
    return world


def shadow(world: World) -> dict[str, Any]:
    return dict(world.status["routes"][0]["shadow"])


def test_an_approved_release_answers_copies_and_nobody_gets_its_answers() -> None:
    world = copied()
    assert world.table.open == {"extract": {ONE: 100}}
    assert world.table.shadows["extract"].served_name == TWO
    assert (shadow(world)["state"], shadow(world)["servedName"]) == ("Open", TWO)
    assert world.events("ShadowOpened") == ["two extract"]
    assert world.status["answers"] == f"extract: {ONE}"
    world.spec["routes"] = [pinned({"one": 100})]
    world.ledger_away = True
    world.step()
    assert world.table.shadows == {}
    world.ledger_away = False
    world.settle()
    assert world.events("ShadowClosed") == ["two extract"]


def test_copies_are_recorded_before_they_are_asked() -> None:
    world = copied()
    world.spec["routes"][0]["shadow"]["releaseRef"]["name"] = "three"
    world.put(release("three", minute=6))
    world.step()
    world.roll_out()
    world.ledger_away = True
    world.step()
    world.step()
    assert world.table.shadows == {}, "the old one closes without waiting, the new one waits for the ledger"
    world.ledger_away = False
    world.settle()
    assert world.table.shadows["extract"].served_name == served("three")


@pytest.mark.attack(81)
def test_a_revoked_shadow_is_asked_nothing_more_even_while_nothing_can_be_recorded() -> None:
    world = copied()
    world.registry_away, world.ledger_away = True, True
    world.phase("two", "Revoked")
    world.step()
    assert world.table.shadows == {}
    assert world.table.open == {"extract": {ONE: 100}}


@pytest.mark.attack(81)
@pytest.mark.parametrize(
    ("prepared", "why"),
    [
        ({"classes": {"one": "PHI"}}, "is for data of class Internal, what answers for PHI"),
        ({"bad_adapters": {TWO: "the adapter answers like the base model"}}, "is LeftOut"),
    ],
)
def test_a_shadow_of_another_data_class_or_that_is_left_out_gets_no_copy(prepared: dict[str, Any], why: str) -> None:
    world = copied(**prepared)
    assert world.table.shadows == {}
    assert shadow(world)["state"] == "Closed"
    assert why in shadow(world)["reason"]
    assert world.events("ShadowOpened") == []


@pytest.mark.attack(81)
def test_a_shadow_goes_on_while_the_registry_is_away_but_not_beside_a_release_of_a_class_that_nobody_knows() -> None:
    world = copied()
    world.put(release("three", minute=6))
    world.settle()
    world.registry_away = True
    world.settle()
    assert world.table.shadows["extract"].served_name == TWO
    world.spec["routes"] = [{**pinned({"three": 100}), "shadow": world.spec["routes"][0]["shadow"]}]
    world.settle()
    assert world.table.open == {"extract": {served("three"): 100}}
    assert world.table.shadows == {}
    assert "the registry cannot be read now" in shadow(world)["reason"]


@pytest.mark.attack(81)
def test_one_class_that_is_known_to_be_another_closes_a_shadow_whatever_is_unknown() -> None:
    world = copied(classes={"four": "PHI"})
    world.put(release("three", minute=6), release("four", minute=7))
    world.settle()
    seen = world.observed()
    unknown = tuple(replace(one, data_class="") if one.release.name == "one" else one for one in seen.candidates)
    world.spec["routes"] = [{**pinned({"one": 50, "four": 50}), "shadow": world.spec["routes"][0]["shadow"]}]
    plan = planner.plan(replace(seen, server=world.observed().server, candidates=unknown), SETTINGS, world.now)
    assert [note.message for note in plan.events] == []
    (routes,) = plan.closes
    assert '"shadow"' not in routes["data"]["routes.json"]


@pytest.mark.parametrize("phase", ["PendingApproval", "Denied"])
def test_a_shadow_that_is_not_approved_gets_no_copy(phase: str) -> None:
    world = copied()
    world.phase("two", phase)
    world.settle()
    assert world.table.shadows == {}
    assert "release two is not approved" in shadow(world)["reason"]


def test_what_copies_showed_stands_in_the_status_once_a_minute() -> None:
    world = copied()
    for agrees in (True, True, False, None):
        asked = world.table.traffic.begin("extract", TWO, shadow=True)
        asked.finished, asked.tokens, asked.agrees = True, 10, agrees
        asked.end()
    world.step()
    assert shadow(world)["copies"] == 0, "a write with each look would be heard by everybody"
    world.now += timedelta(seconds=61)
    world.step()
    told = shadow(world)
    assert (told["copies"], told["errors"], told["tokens"], told["compared"], told["agreed"]) == (4, 0, "10", 3, 2)
