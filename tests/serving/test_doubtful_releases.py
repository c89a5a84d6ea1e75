"""Releases of which something is in doubt: what runs keeps running, nothing new is rolled out."""

from __future__ import annotations

import pytest

from tests.support.server_world import World, release, served
from tunegate.api.conditions import Condition

pytestmark = pytest.mark.parametrize("condition", ["Tampered", "QuorumLost"])


def doubt(world: World, name: str, condition: str) -> None:
    """Let the release's controller say that nothing new may be rolled out for it."""
    one = release(name)
    said = Condition(type=condition, status="True", reason="X", last_transition_time="2026-01-01T00:00:00Z")
    world.put(one.model_copy(update={"status": one.status.model_copy(update={"conditions": [said]})}))


def answering(world: World) -> str | None:
    """Return the served name that answers under the one route."""
    (route,) = world.status["routes"]
    return str(route["targets"][0]["servedName"]) if route["state"] == "Open" else None


@pytest.mark.attack(25)
def test_a_doubtful_release_is_not_rolled_out_but_keeps_running(condition: str) -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    for name in ("one", "two"):
        doubt(world, name, condition)
    world.settle()
    assert set(world.held()) == {served("one")}
    assert answering(world) == served("one")


@pytest.mark.attack(25)
def test_a_doubtful_release_that_was_left_out_is_not_rolled_out_when_it_is_repaired(condition: str) -> None:
    world = World()
    world.bad_adapters[served("one")] = "model.safetensors is damaged"
    world.put(release("one"))
    world.settle()
    assert world.status["adapters"][0]["state"] == "LeftOut"
    doubt(world, "one", condition)
    world.bad_adapters.clear()
    world.settle()
    assert world.held() == {}
    assert answering(world) is None
