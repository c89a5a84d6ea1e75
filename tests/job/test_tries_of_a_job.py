"""When a job counts as a try on its suite."""

from __future__ import annotations

import pytest

from tests.support.job_world import World, run_to
from tests.support.stage_documents import baselined, validated
from tunegate.api.shared import SuiteTries


def test_a_try_is_recorded_before_the_suite_is_asked() -> None:
    world = World()
    world.answer(run_to(world, "Validate"), validated(suite_sketch="1:AAAAAAAAAAE="))
    run_to(world, "Seal")
    assert "SuiteAsked" not in world.audit.values()
    pod = next(iter(world.active_pods()))
    world.answer(pod)
    world.sync_jobs()
    for writes in range(1, 20):
        world.reconcile(writes)  # the operator is killed after so many writes
        made = any("-evaluate-" in name for name in world.history)
        assert "SuiteAsked" in world.audit.values() or not made
        if made:
            break

    entry = next(entry for entry in world.entries if entry.type == "SuiteAsked")
    assert entry.payload["stage"] == "Evaluate"
    assert entry.payload["suiteSketch"] == "1:AAAAAAAAAAE="
    assert entry.payload["suiteData"] == world.status["suiteDataDigest"]
    world.settle()
    assert [one.type for one in world.entries].count("SuiteAsked") == 1


@pytest.mark.parametrize(
    "baseline", [{}, {"prompt": "Think first."}], ids=["the suite's prompt", "the author's prompt"]
)
def test_a_prompt_that_suffices_is_a_try(baseline: dict[str, str]) -> None:
    world = World(spec={"baseline": baseline})
    pod = run_to(world, "Baseline")
    assert ("SuiteAsked" in world.audit.values()) == bool(baseline)
    world.answer(pod, baselined("PromptingSuffices"))
    world.settle()

    types = [entry.type for entry in world.entries]
    assert types.index("SuiteAsked") < types.index("JobFinished")
    entry = next(entry for entry in world.entries if entry.type == "SuiteAsked")
    assert entry.payload["stage"] == "Baseline"


def test_the_tries_stand_in_the_status_once_the_job_is_over() -> None:
    world = World(tries=SuiteTries(total=3))
    world.settle()
    world.tries = SuiteTries(total=9)
    world.settle()

    assert world.status["suiteTries"]["total"] == 3
