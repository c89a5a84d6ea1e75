"""What MLflow is told, and what its answer makes of the status: pure."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.support.stage_documents import validated
from tests.tracking import story
from tunegate.api.finetunejob.spec import Documents
from tunegate.reconcile.mlflow_records import LONGEST_PAUSE, Outcome, job_record, pause, plan_job
from tunegate.tracking.records import InputData, Written

NOW = datetime(2026, 11, 1, 13, tzinfo=UTC)


def test_the_run_names_data_base_profile_and_images() -> None:
    record = job_record(story.finished_job(), story.results())
    assert record.params["dataset.digest"] == story.digest("3")
    assert record.params["base.digest"] == story.digest("e")
    assert record.params["profile.digest"] == story.digest("f")
    assert record.params["method.type"] == "LoRA"
    assert record.params["image.train.stage"] == f"trainer:1 ({story.digest('8')})"
    assert record.tags["tunegate.adapter"] == f"team/job-11111111/adapter@{story.digest('c')}"


def test_a_run_on_redacted_data_names_the_source_and_what_was_trained_on() -> None:
    job = story.finished_job()
    data = job.status.dataset
    assert data is not None
    redacted = data.model_copy(update={"redacted_digest": story.digest("9")})
    status = job.status.model_copy(update={"dataset": redacted})

    record = job_record(job.model_copy(update={"status": status}), story.results())

    assert record.params["dataset.digest"] == story.digest("3")
    assert record.params["dataset.redactedDigest"] == story.digest("9")
    (training,) = (data for data in record.inputs if data.context == "training")
    assert training.digest == story.digest("9")
    assert training.source.endswith("(redacted)")


def test_a_run_names_the_documents_that_the_baseline_searched() -> None:
    job = story.finished_job()
    baseline = job.spec.baseline.model_copy(update={"documents": Documents(uri="pvc://data/manuals")})
    job = job.model_copy(
        update={
            "spec": job.spec.model_copy(update={"baseline": baseline}),
            "status": job.status.model_copy(update={"documents_digest": story.digest("7")}),
        }
    )
    record = job_record(job, {})
    assert record.params["documents.uri"] == "pvc://data/manuals"
    assert record.params["documents.digest"] == story.digest("7")
    assert InputData("documents", story.digest("7"), "pvc://data/manuals", "evaluation") in record.inputs
    assert not [name for name in job_record(story.finished_job(), {}).params if name.startswith("documents")]


def test_every_arm_and_the_gate_are_numbers_of_the_run() -> None:
    points = {p.name: p.value for p in job_record(story.finished_job(), story.results()).metrics if p.step == 0}
    assert points["result.Regex.ExactMatch"] == 0.45
    assert points["result.Tuned.ExactMatch"] == 0.795
    assert points["result.gate.Regex.lower"] == 0.25


def test_the_run_shows_what_training_took_beside_what_was_expected() -> None:
    terms = {"name": "pool", "pricePerDeviceHour": "2", "currency": "USD"}
    results = {**story.results(), "Validate": validated()}
    record = job_record(story.finished_job(deviceHours="0.5000", cost="1.0000", pool=terms), results)

    points = {point.name: point.value for point in record.metrics}
    assert (points["result.train.device_hours"], points["result.train.cost"]) == (0.5, 1.0)
    assert {"result.validate.device_hours", "result.validate.cost"} <= points.keys()
    assert (record.tags["tunegate.deviceHours"], record.tags["tunegate.cost"]) == ("0.5000", "1.0000 USD")


def test_a_check_that_was_off_has_no_number_in_the_run() -> None:
    results = {**story.results(), "Validate": validated(overlap_rows=None)}

    names = {point.name for point in job_record(story.finished_job(), results).metrics}

    assert "result.validate.duplicates" in names
    assert "result.validate.overlap_rows" not in names


def test_the_same_facts_make_the_same_record_and_progress_makes_no_other() -> None:
    one = job_record(story.finished_job(), story.results())
    other = job_record(story.finished_job(progress={"percent": 42}), story.results())
    assert one == other
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != job_record(story.finished_job(phase="Failed"), story.results()).fingerprint


def test_a_running_job_has_a_running_run() -> None:
    record = job_record(story.finished_job(phase="Training", completionTime=None), {})
    assert (record.state, record.end_ms) == ("RUNNING", None)


def test_status_holds_only_what_this_writer_owns() -> None:
    plan = plan_job(story.finished_job(), Outcome(Written("run1", "tunegate/team"), "run run1"), NOW)
    assert plan.status is not None
    assert set(plan.status) == {"mlflowRunId", "conditions"}
    assert [entry["type"] for entry in plan.status["conditions"]] == ["LineageRecorded"]


def test_an_outage_keeps_the_run_id_and_asks_for_another_try() -> None:
    job = story.finished_job(mlflowRunId="run1")
    plan = plan_job(job, Outcome(None, "down", retry_after=20.0), NOW)
    assert plan.status is not None
    assert plan.status["mlflowRunId"] == "run1"
    assert plan.status["conditions"][0]["reason"] == "TrackingUnavailable"
    assert plan.requeue_after == 20.0


def test_pauses_grow_and_end() -> None:
    assert [pause(n) for n in (1, 2, 3)] == [5.0, 10.0, 20.0]
    assert pause(50) == LONGEST_PAUSE
