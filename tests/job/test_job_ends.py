"""How a job ends, and what people read then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.job_world import SECRET, WORKSPACE, World, condition, run_to
from tests.support.stage_documents import SETTINGS, baselined, evaluated, job, trained, validated, world_objects
from tunegate.api.stage.findings import Finding, RedactedData
from tunegate.api.stage.results import Savings
from tunegate.digests import sha256
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.planner import plan
from tunegate.reconcile.finetunejob.results import read

Json = dict[str, Any]


def test_a_good_job_goes_through_all_stages_and_tells_its_story() -> None:
    world = World()
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert world.status["gate"]["outcome"] == "Pass"
    assert world.status["gate"]["arms"][0]["difference"] == "+0.3400"
    assert world.status["adapter"]["rank"] == 16
    assert world.status["dataset"]["rows"] == 267
    assert [stage["state"] for stage in world.status["stages"]] == ["Done"] * 5
    assert "ModelRelease" in world.status["message"]
    assert sorted(world.audit.values()) == ["AdapterSealed", "JobFinished", "JobRequested", "SuiteAsked"]
    assert ("Secret", SECRET) not in world.others
    assert ("PersistentVolumeClaim", WORKSPACE) in world.others


def test_the_end_tells_what_training_took_beside_what_was_expected() -> None:
    world = World(pool={"pricePerDeviceHour": "2"})
    world.answer(run_to(world, "Validate"), validated(device_hours=0.5, cost=1.0, throughput=10.0, throughput_runs=3))
    pod = run_to(world, "Train")
    world.pass_time(3600)
    world.answer(pod, trained().model_copy(update={"seconds": 3600.0}))
    world.settle()

    status, expected = world.status, world.status["estimates"]
    assert (expected["deviceHours"], expected["cost"]) == ("0.5", "1")
    assert (expected["throughput"], expected["throughputRuns"]) == ("10", 3)
    assert (expected["costOfTwoRuns"], expected["costOfThreeRuns"]) == ("2", "3")
    assert (status["deviceHours"], status["cost"], status["throughput"]) == ("1.0000", "2.0000", "5")
    assert status["pool"] == {"name": "pool", "pricePerDeviceHour": "2", "currency": "USD"}
    assert "Training took 1.0000 device hours (2.0000 USD), 2 times the estimate." in status["message"]
    finished = next(entry for entry in world.entries if entry.type == "JobFinished")
    assert (finished.payload["deviceHours"], finished.payload["cost"], finished.payload["currency"]) == (
        "1.0000", "2.0000", "USD",
    )  # fmt: skip


def test_a_training_that_was_disrupted_counts_all_its_hours_and_measures_no_throughput() -> None:
    world = World(pool={"pricePerDeviceHour": "2"})
    world.answer(run_to(world, "Validate"), validated(throughput=10.0))
    pod = run_to(world, "Train")
    world.pass_time(1800)
    world.evict(pod)
    world.sync_jobs()
    world.reap()
    world.reconcile()
    pod = run_to(world, "Train")
    world.pass_time(1800)
    world.answer(pod)
    world.settle()

    assert (world.status["deviceHours"], world.status["cost"]) == ("1.0000", "2.0000")
    assert "throughput" not in world.status


@pytest.mark.parametrize(
    ("months", "said"), [((1.04, 1.56), "1.04 to 1.56"), (None, "never")], ids=["some day", "never"]
)
def test_savings_say_when_the_training_has_paid_for_itself(months: Any, said: str) -> None:
    result = validated(throughput=10.0, savings=Savings(monthly=200.0, break_even_months=months))

    found = read(job(), result, "EUR").update["estimates"].savings.to_dict()

    assert found == {"monthly": "200", "breakEvenMonths": said}


REDACTED = RedactedData(digest=sha256(b"redacted"), rows=4, replaced={"<EMAIL_ADDRESS>": 5, "<IBAN>": 1})


def redacting() -> World:
    """A job whose validation wrote a redacted data set, about to begin the baseline."""
    checks = [{"name": "PersonalData", "action": "Redact"}]
    world = World(spec={"dataset": {**job().spec.dataset.to_dict(), "checks": checks}})
    world.answer(run_to(world, "Validate"), validated(redacted=REDACTED))
    world.sync_jobs()
    return world


def test_a_job_with_redacted_data_says_so_and_records_both_digests() -> None:
    world = redacting()
    world.reconcile()
    told = world.status["stages"][0]["message"]
    world.answer(run_to(world, "Seal"))
    world.sync_jobs()
    step = world.reconcile()

    assert "4 rows were redacted (5 <EMAIL_ADDRESS>, 1 <IBAN>)" in told
    data = world.status["dataset"]
    assert (data["digest"], data["redactedDigest"]) == (sha256(b"rows"), REDACTED.digest)
    assert step is not None
    sealed = next(entry for entry in step.audit if entry.type == "AdapterSealed")
    assert (sealed.payload["datasetDigest"], sealed.payload["redactedDigest"]) == (sha256(b"rows"), REDACTED.digest)
    world.settle()
    assert world.status["phase"] == "Succeeded"


def test_redacted_data_that_was_lost_with_its_volume_ends_the_job() -> None:
    world = redacting()
    world.delete("PersistentVolumeClaim", WORKSPACE)
    world.settle()

    assert (world.status["phase"], condition(world.status, "Complete")["reason"]) == ("Failed", "BadInput")
    assert "redacted data set" in world.status["message"]
    assert not any("baseline" in name for name in world.history)


def test_the_documents_that_were_searched_stand_in_status_and_ledger() -> None:
    world = World(spec={"baseline": {"documents": {"uri": "pvc://data/manuals"}}})
    world.answer(run_to(world, "Validate"), validated(documents_digest=sha256(b"text")))
    world.settle()

    assert (world.status["phase"], world.status["documentsDigest"]) == ("Succeeded", sha256(b"text"))
    finished = next(entry for entry in world.entries if entry.type == "JobFinished")
    assert finished.payload["documentsDigest"] == sha256(b"text")


def test_what_was_not_looked_for_is_no_zero_in_the_status() -> None:
    update = read(job(), validated(near_duplicates=None, overlap_rows=None), "EUR").update["dataset"].to_dict()

    assert update["duplicates"] == 3
    assert not {"nearDuplicates", "overlapRows"} & update.keys()


@pytest.mark.parametrize(
    ("stage", "result", "phase", "reason", "says"),
    [
        (
            "Validate",
            validated("Refused", findings=[Finding(check="Rows", action="Block", count=2, rows=["3", "9"], message="no JSON")]),
            "Failed", "ValidationRefused", "rows 3, 9",
        ),
        ("Baseline", baselined("PromptingSuffices"), "Succeeded", "PromptingSuffices", "onPromptingSuffices"),
        (
            "Baseline", baselined("PromptingSuffices").model_copy(update={"prompt": "system: Be brief."}),
            "Succeeded", "PromptingSuffices", "Use the base model with this prompt: system: Be brief.",
        ),
        (
            "Baseline", baselined("PromptingSuffices").model_copy(update={"best_arm": "Classifier"}),
            "Succeeded", "PromptingSuffices", "TF-IDF",
        ),
        (
            "Baseline", baselined("PromptingSuffices").model_copy(update={"best_arm": "BaseRetrieval"}),
            "Succeeded", "PromptingSuffices", "Use retrieval: the base model, with passages found in baseline.documents",
        ),
        ("Train", trained("Diverged"), "Failed", "TrainingDiverged", "learningRate"),
        ("Evaluate", evaluated("Fail"), "Failed", "GateFailed", "Regex (0.450): difference -0.100, 95 % interval -0.190"),
        ("Evaluate", evaluated("Inconclusive"), "Failed", "GateInconclusive", "too small to tell"),
    ],
)  # fmt: skip
def test_a_verdict_ends_the_job_with_a_reason_and_advice(
    stage: str, result: Any, phase: str, reason: str, says: str
) -> None:
    world = World()
    world.answer(run_to(world, stage), result)
    world.sync_jobs()
    world.reconcile()
    assert world.status["phase"] == phase
    ended = [condition(world.status, type_) for type_ in ("Complete", "Failed")]
    assert [one["reason"] for one in ended] == [reason, reason]
    assert [one["status"] for one in ended] == (["True", "False"] if phase == "Succeeded" else ["False", "True"])
    assert condition(world.status, "Scheduled")["reason"] == "Finished"
    assert says in world.status["message"]


def test_prompting_that_suffices_can_be_overruled() -> None:
    world = World(spec={"onPromptingSuffices": "Continue"})
    world.answer(run_to(world, "Baseline"), baselined("PromptingSuffices"))
    world.settle()
    assert condition(world.status, "Complete")["reason"] == "GatePassed"


def test_the_workspace_is_freed_when_the_time_to_live_is_over() -> None:
    world = World(spec={"ttlSecondsAfterFinished": 3600})
    world.settle()
    step = world.reconcile()
    assert step is not None
    assert step.requeue_after is not None
    assert step.requeue_after <= 3600
    world.pass_time(3601)
    world.reconcile()
    assert ("PersistentVolumeClaim", WORKSPACE) not in world.others
    assert not world.jobs
    assert world.status["phase"] == "Succeeded"


def test_inputs_that_were_made_again_end_the_job() -> None:
    world = World()
    world.answer(run_to(world, "Baseline"))
    world.sync_jobs()
    world.reconcile()
    world.status["suiteDigest"] = "sha256:" + "9" * 64
    world.reconcile()
    assert condition(world.status, "Complete")["reason"] == "BadInput"
    assert "EvaluationSuite suite was" in world.status["message"]


def test_a_job_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    found = job()
    found.metadata["deletionTimestamp"] = "2026-11-01T00:00:00Z"
    step = plan(Observed(job=found, **world_objects()), World().now, SETTINGS)
    assert step.status is None
    assert not step.creates
    assert not step.deletes


def test_a_credential_that_will_end_is_renewed_while_the_stage_runs() -> None:
    world = World()
    run_to(world, "Train")
    seen = world.observe()
    step = plan(Observed(**{**seen.__dict__, "fresh_credential": "{}"}), world.now, SETTINGS)
    assert [obj["kind"] for obj in step.applies] == ["Secret"]


def test_a_failed_job_stays_failed() -> None:
    world = World()
    world.answer(run_to(world, "Validate"), validated("Refused"))
    world.sync_jobs()
    world.reconcile()
    end = dict(world.status)
    for _ in range(3):
        world.pass_time(1000)
        step = world.reconcile()
        assert step is not None
        assert not step.creates
    assert world.status == end
