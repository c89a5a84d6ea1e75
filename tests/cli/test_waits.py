"""What the list of jobs says a job waits for."""

from __future__ import annotations

import pytest

from tests.support.builders import make_finetunejob
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.reasons import JobReason
from tunegate.cli.get.waits import WORDS, awaited
from tunegate.reconcile.attempt.placement import Placement


def job(reason: str, message: str = "", status: str = "Unknown", phase: str = "Pending") -> FineTuneJob:
    condition = {
        "type": "Complete", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-26T15:00:00Z",
    }  # fmt: skip
    return FineTuneJob.model_validate({**make_finetunejob(), "status": {"phase": phase, "conditions": [condition]}})


@pytest.mark.parametrize("reason", [reason for reason in JobReason if reason.startswith("WaitingFor")])
def test_every_wait_has_a_word(reason: JobReason) -> None:
    """A waiver is waited for by the roles that may give it."""
    assert awaited(job(reason)) != "-" or reason == JobReason.WAITING_FOR_WAIVER


@pytest.mark.parametrize(
    ("waiting", "word"),
    [
        (job("WaitingForVolume", "runs: kubectl label pvc -n team data tunegate.io/usable-by-jobs=true"), "label"),
        (job("WaitingForVolume", "does not exist"), "volume"),
        (job("WaitingForDevice"), "room on nodes"),
        (job("NodeLost", "node n1 does not answer"), "lost node"),
        (job("StageRunning"), "-"),
        (job("NotAllowed", status="False", phase="Failed"), "-"),
        (FineTuneJob.model_validate(make_finetunejob()), "-"),
    ],
)
def test_a_job_names_what_it_waits_for_and_nothing_when_it_runs_or_has_ended(waiting: FineTuneJob, word: str) -> None:
    assert awaited(waiting) == word


def test_words_are_short_enough_for_a_table() -> None:
    assert max(map(len, WORDS.values())) <= 20
    assert Placement("False", JobReason.WAITING_FOR_DEVICE, "").reason in WORDS
