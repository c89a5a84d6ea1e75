"""What the list of jobs says a job waits for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.builders import make_finetunejob
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.reasons import JobReason
from tunegate.cli.waits import LABEL, TURNS, WORDS, awaited, told
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


NOW = datetime(2026, 11, 26, 15, 7, tzinfo=UTC)


def test_a_page_says_since_when_a_job_waits_and_whose_turn_it_is() -> None:
    """A stage that runs has waited before; a time is only told where it is that of this waiting."""
    queued = job("WaitingForDevice", phase="Queued").to_dict()
    placement = {**queued["status"]["conditions"][0], "type": "Scheduled", "status": "False"}
    queued["status"]["conditions"].append(placement)
    told_of_queued = told(FineTuneJob.model_validate(queued), NOW)
    assert told_of_queued == "room on nodes since 2026-11-26T15:00:00Z (7m); it starts by itself when others end"
    assert told(job("WaitingForDevice", phase="Training"), NOW) == "room on nodes; it starts by itself when others end"
    pending = job("WaitingForServer").to_dict()
    pending["metadata"]["creationTimestamp"] = "2026-11-26T13:00:00Z"
    told_of_pending = told(FineTuneJob.model_validate(pending), NOW)
    assert told_of_pending == "server since 2026-11-26T13:00:00Z (2h); the serving operators' turn"
    assert told(job("WaitingForPool"), NOW) == "pool; the platform team's turn"
    assert told(job("StageRunning"), NOW) is None


def test_every_turn_is_of_a_word_that_there_is() -> None:
    assert TURNS.keys() <= {*WORDS.values(), LABEL}


def test_words_are_short_enough_for_a_table() -> None:
    assert max(map(len, WORDS.values())) <= 20
    assert Placement("False", JobReason.WAITING_FOR_DEVICE, "").reason in WORDS
