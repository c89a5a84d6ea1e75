"""What is done for a job that has been recorded: nothing, until something about it changes or an hour is over."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.ledgers import Store
from tests.tracking import story
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.controllers.mlflow.recorder import VERIFY_SECONDS, Recorder, Shown, state_of
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.mlflow_records import job_record
from tunegate.tracking.mlflow import Tracking


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def with_status(job: FineTuneJob, **changes: Any) -> FineTuneJob:
    return FineTuneJob.model_validate(job.to_dict() | {"status": job.status.to_dict() | changes})


async def test_a_recorded_job_is_not_made_into_a_record_again_until_it_changes_or_an_hour_is_over(
    tracking: Tracking,
) -> None:
    job, clock = story.finished_job(), Clock()
    recorder = Recorder(LedgerWriter(Store()), clock)
    assert recorder.shown(job.uid, state_of(job)) is None
    shown = Shown(job, job_record(job, story.results()), tracking, "run {} of experiment {}")

    outcome = await recorder.record(shown, state_of(job))

    assert outcome.recorded
    talking = with_status(job, message="anything", progress={"percent": 5}, mlflowRunId="r", conditions=[])
    assert recorder.shown(job.uid, state_of(talking)) == outcome
    assert recorder.shown(job.uid, state_of(with_status(job, deviceHours="77"))) is None
    clock.now += VERIFY_SECONDS
    assert recorder.shown(job.uid, state_of(job)) is None
    recorder.forget(job.uid)
    assert recorder.shown(job.uid, state_of(job)) is None


@pytest.mark.parametrize(
    "change", [{"phase": "Failed"}, {"deviceHours": "1"}, {"stages": []}, {"cost": "9"}, {"gate": None}]
)
def test_whatever_a_record_says_is_part_of_its_state(change: dict[str, Any]) -> None:
    job = story.finished_job()

    assert state_of(with_status(job, **change)) != state_of(job)
