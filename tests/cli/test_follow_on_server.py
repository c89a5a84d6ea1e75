"""`wait` and `logs` on the real server: each person with their own rights."""

from __future__ import annotations

import pytest

from tests.support.builders import make_finetunejob
from tests.support.command_line import Cli, say
from tests.support.governed_namespace import World

pytestmark = pytest.mark.cluster
ERIN = {"username": "erin", "groups": ["tunegate:engineers"]}


@pytest.fixture
def awaited(world: World) -> str:
    """A job in Training, as a reference."""
    made = make_finetunejob("awaited", world.namespace, requestedBy=ERIN)
    world.create("engineer", made, dry_run=False).passes()
    say(world, "finetunejob", "awaited", {"phase": "Training"})
    return "job/awaited"


def test_waiting_ends_with_the_phase_and_with_the_time_and_when_it_cannot_come_any_more(
    cli: Cli, world: World, awaited: str
) -> None:
    told = cli.run("engineer", "wait", awaited, "--for", "phase=Succeeded", "--timeout", "1s", code=3)
    assert "waiting for phase=Succeeded of job/awaited, at most 1 s; it is Training" in told
    assert "did not get to phase=Succeeded in 1 s" in told
    assert "job/awaited: phase=Training" in cli.run("engineer", "wait", awaited, "--for", "phase=Training")
    say(world, "finetunejob", "awaited", {"phase": "Failed"})
    assert "will not get to phase=Succeeded" in cli.run("engineer", "wait", awaited, "--for", "phase=Succeeded", code=1)

    nothing = cli.run("engineer", "logs", awaited, code=1)
    assert "job/awaited has no pods now, and logs go with them. The job is Failed" in nothing
    assert "stage Train of job/awaited" in cli.run("engineer", "logs", awaited, "--stage", "Train", code=1)
    assert "pods is forbidden" in cli.run("reviewer-risk", "logs", awaited, code=1)
