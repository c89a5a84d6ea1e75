"""How lost attempts are counted, how a job ends, and what people read then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.job_world import SECRET, WORKSPACE, World, condition, run_to
from tests.support.stage_documents import SETTINGS, baselined, evaluated, job, trained, validated, world_objects
from tunegate.api.shared import SuiteTries
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
    world.answer(run_to(world, "validate"), validated(device_hours=0.5, cost=1.0, throughput=10.0, throughput_runs=3))
    pod = run_to(world, "train")
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
    world.answer(run_to(world, "validate"), validated(throughput=10.0))
    pod = run_to(world, "train")
    world.pass_time(1800)
    world.evict(pod)
    world.sync_jobs()
    world.reap()
    world.reconcile()
    pod = run_to(world, "train")
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
    world.answer(run_to(world, "validate"), validated(redacted=REDACTED))
    world.sync_jobs()
    return world


def test_a_job_with_redacted_data_says_so_and_records_both_digests() -> None:
    world = redacting()
    world.reconcile()
    told = world.status["stages"][0]["message"]
    world.answer(run_to(world, "seal"))
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

    assert (world.status["phase"], condition(world.status, "Succeeded")["reason"]) == ("Failed", "BadInput")
    assert "redacted data set" in world.status["message"]
    assert not any("baseline" in name for name in world.history)


def test_the_documents_that_were_searched_stand_in_status_and_ledger() -> None:
    world = World(spec={"baseline": {"documents": {"uri": "pvc://data/manuals"}}})
    world.answer(run_to(world, "validate"), validated(documents_digest=sha256(b"text")))
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
            "validate",
            validated("Refused", findings=[Finding(check="Rows", action="Block", count=2, rows=["3", "9"], message="no JSON")]),
            "Failed", "ValidationRefused", "rows 3, 9",
        ),
        ("baseline", baselined("PromptingSuffices"), "Succeeded", "PromptingSuffices", "onPromptingSuffices"),
        (
            "baseline", baselined("PromptingSuffices").model_copy(update={"prompt": "system: Be brief."}),
            "Succeeded", "PromptingSuffices", "Use the base model with this prompt: system: Be brief.",
        ),
        (
            "baseline", baselined("PromptingSuffices").model_copy(update={"best_arm": "Classifier"}),
            "Succeeded", "PromptingSuffices", "TF-IDF",
        ),
        (
            "baseline", baselined("PromptingSuffices").model_copy(update={"best_arm": "BaseRetrieval"}),
            "Succeeded", "PromptingSuffices", "Use retrieval: the base model, with passages found in baseline.documents",
        ),
        ("train", trained("Diverged"), "Failed", "TrainingDiverged", "learningRate"),
        ("evaluate", evaluated("Fail"), "Failed", "GateFailed", "Regex (0.450): difference -0.100, 95 % interval -0.190"),
        ("evaluate", evaluated("Inconclusive"), "Failed", "GateInconclusive", "too small to tell"),
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
    assert condition(world.status, "Succeeded")["reason"] == reason
    assert condition(world.status, "Scheduled")["reason"] == "Finished"
    assert says in world.status["message"]


def test_prompting_that_suffices_can_be_overruled() -> None:
    world = World(spec={"onPromptingSuffices": "Continue"})
    world.answer(run_to(world, "baseline"), baselined("PromptingSuffices"))
    world.settle()
    assert condition(world.status, "Succeeded")["reason"] == "GatePassed"


@pytest.mark.parametrize(
    ("how", "reason", "counted", "delay"),
    [
        ("evict", "Disrupted", "disruptions", 0),
        (75, "Preempted", "disruptions", 0),
        ("delete", "Disrupted", "disruptions", 0),
        (4, "Unavailable", "disruptions", 10),
        (1, "Unknown", "errors", 10),
        ("mute", "NoResult", "errors", 10),
        (5, "OutOfMemory", "errors", 10),
    ],
)
def test_a_lost_attempt_is_counted_and_tried_again(how: Any, reason: str, counted: str, delay: int) -> None:
    world = World()
    pod = run_to(world, "train")
    match how:
        case "evict":
            world.evict(pod)
        case "delete":
            world.terminate(pod)
        case "mute":
            world.end_pod(pod, 0)
        case _:
            world.end_pod(pod, how)
    world.sync_jobs()
    world.reap()
    world.reconcile()
    train = world.status["stages"][2]
    assert (train["state"], train["reason"], train[counted]) == ("Waiting", reason, 1)
    if delay:
        world.pass_time(delay - 1)
        world.reconcile()
        assert world.status["stages"][2]["attempt"] == 1
        world.pass_time(2)
    world.reconcile()
    assert world.status["stages"][2]["attempt"] == 2
    world.settle()
    assert world.status["phase"] == "Succeeded"


def test_memory_that_runs_out_twice_ends_the_job_with_advice() -> None:
    world = World()
    for _ in range(2):
        world.end_pod(run_to(world, "train"), 137, "OOMKilled")
        world.sync_jobs()
        world.reconcile()
        world.pass_time(60)
    assert condition(world.status, "Succeeded")["reason"] == "OutOfMemory"
    assert "batchSize" in world.status["message"]


@pytest.mark.parametrize(
    ("limits", "code", "reason"),
    [
        ({"maxErrors": 1, "maxDisruptions": 9}, 1, "ErrorBudgetSpent"),
        ({"maxErrors": 9, "maxDisruptions": 1}, 75, "DisruptionBudgetSpent"),
    ],
)
def test_each_budget_is_spent_on_its_own(limits: Json, code: int, reason: str) -> None:
    world = World(spec={"limits": limits})
    for _ in range(2):
        assert world.status.get("phase") != "Failed"
        world.end_pod(run_to(world, "train"), code)
        world.sync_jobs()
        world.reconcile()
        world.pass_time(60)
    assert condition(world.status, "Succeeded")["reason"] == reason


def test_one_broken_pod_explains_why_its_peers_were_stopped() -> None:
    world = World(spec={"method": {"type": "LoRA", "numNodes": 2}})
    first = run_to(world, "train")
    second = next(pod for pod in world.active_pods() if pod is not first)
    world.end_pod(second, 1)
    world.end_pod(first, 75)
    world.sync_jobs()
    world.reconcile()
    assert world.status["stages"][2]["reason"] == "Unknown"


def test_an_engine_that_never_comes_up_ends_the_attempt() -> None:
    world = World()
    pod = run_to(world, "baseline")
    engine = {"name": "engine", "restartCount": 3, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    waiting = {"name": "stage", "state": {"waiting": {"reason": "PodInitializing"}}}
    pod["status"] = {"phase": "Pending", "initContainerStatuses": [engine], "containerStatuses": [waiting]}
    world.reconcile()
    baseline = world.status["stages"][1]
    assert (baseline["state"], baseline["errors"]) == ("Waiting", 1)
    assert "engine fell 3 times" in baseline["message"]
    assert not world.jobs.get(baseline["jobName"])


@pytest.mark.parametrize("container", ["download", "download-documents", "fetch"])
def test_what_failed_before_the_stage_began_says_why(container: str) -> None:
    world = World()
    pod = run_to(world, "evaluate")
    said = '{"reason": "Unavailable", "message": "the store refuses the key"}'
    over = {"name": container, "state": {"terminated": {"exitCode": 4, "reason": "Error", "message": said}}}
    waiting = {"name": "stage", "state": {"waiting": {"reason": "PodInitializing"}}}
    pod["status"] = {"phase": "Failed", "initContainerStatuses": [over], "containerStatuses": [waiting]}
    world.sync_jobs()
    world.reconcile()
    evaluate = world.status["stages"][-1]
    assert (evaluate["state"], evaluate["reason"], evaluate["disruptions"]) == ("Waiting", "Unavailable", 1)
    assert "the store refuses the key" in evaluate["message"]


def test_a_pod_that_failed_after_naming_a_result_gave_no_verdict() -> None:
    world = World()
    pod = run_to(world, "validate")
    world.answer(pod)
    pod["status"]["phase"] = "Failed"
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = 1
    world.sync_jobs()
    world.reconcile()
    assert world.status["stages"][0]["reason"] == "Unknown"


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
    world.answer(run_to(world, "baseline"))
    world.sync_jobs()
    world.reconcile()
    world.status["suiteDigest"] = "sha256:" + "9" * 64
    world.reconcile()
    assert condition(world.status, "Succeeded")["reason"] == "BadInput"
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
    run_to(world, "train")
    seen = world.observe()
    step = plan(Observed(**{**seen.__dict__, "fresh_credential": "{}"}), world.now, SETTINGS)
    assert [obj["kind"] for obj in step.applies] == ["Secret"]


def test_a_job_of_an_attempt_that_is_over_is_deleted() -> None:
    """A request to create it was long on its way, from an operator that has lost its lease since."""
    world = World()
    world.end_pod(run_to(world, "train"), 75)
    world.sync_jobs()
    late = dict(world.jobs[world.status["stages"][2]["jobName"]])
    world.reconcile()
    world.reconcile()
    current = world.status["stages"][2]["jobName"]
    assert world.status["stages"][2]["attempt"] == 2
    world.jobs[late["metadata"]["name"]] = {**late, "status": {}}
    world.reconcile()
    assert [name for name, found in world.jobs.items() if not world.over(found)] == [current]


def test_an_attempt_that_the_status_does_not_know_of_is_taken_over() -> None:
    world = World()
    world.reconcile(writes=4)
    assert list(world.jobs)
    assert not world.status
    (name,) = world.jobs
    step = world.reconcile()
    assert step is not None
    assert not step.creates
    assert not step.deletes
    assert world.status["stages"][0]["attempt"] == 1
    assert world.status["stages"][0]["jobName"] == name


def test_a_failed_job_stays_failed() -> None:
    world = World()
    world.answer(run_to(world, "validate"), validated("Refused"))
    world.sync_jobs()
    world.reconcile()
    end = dict(world.status)
    for _ in range(3):
        world.pass_time(1000)
        step = world.reconcile()
        assert step is not None
        assert not step.creates
    assert world.status == end


def test_an_attempt_whose_pod_still_ends_is_not_judged_yet() -> None:
    """The Job is gone, the pod writes its checkpoint: there is time for that before the next attempt."""
    world = World()
    pod = run_to(world, "train")
    world.delete("Job", world.status["stages"][2]["jobName"])
    world.reconcile()
    assert world.status["stages"][2]["state"] == "Running"
    world.end_pod(pod, 75)
    world.reconcile()
    train = world.status["stages"][2]
    assert (train["state"], train["reason"]) == ("Waiting", "Preempted")


def test_a_try_is_recorded_before_the_suite_is_asked() -> None:
    world = World()
    world.answer(run_to(world, "validate"), validated(suite_sketch="1:AAAAAAAAAAE="))
    run_to(world, "seal")
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
    assert entry.payload["stage"] == "evaluate"
    assert entry.payload["suiteSketch"] == "1:AAAAAAAAAAE="
    assert entry.payload["suiteData"] == world.status["suiteDataDigest"]
    world.settle()
    assert [one.type for one in world.entries].count("SuiteAsked") == 1


@pytest.mark.parametrize(
    "baseline", [{}, {"prompt": "Think first."}], ids=["the suite's prompt", "the author's prompt"]
)
def test_a_prompt_that_suffices_is_a_try(baseline: dict[str, str]) -> None:
    world = World(spec={"baseline": baseline})
    pod = run_to(world, "baseline")
    assert ("SuiteAsked" in world.audit.values()) == bool(baseline)
    world.answer(pod, baselined("PromptingSuffices"))
    world.settle()

    types = [entry.type for entry in world.entries]
    assert types.index("SuiteAsked") < types.index("JobFinished")
    entry = next(entry for entry in world.entries if entry.type == "SuiteAsked")
    assert entry.payload["stage"] == "baseline"


def test_the_tries_stand_in_the_status_once_the_job_is_over() -> None:
    world = World(tries=SuiteTries(total=3))
    world.settle()
    world.tries = SuiteTries(total=9)
    world.settle()

    assert world.status["suiteTries"]["total"] == 3
