"""Each way in which a pod is taken away, lacks something or stands still is an end of its own, with the right budget."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.job_world import World, condition, run_to
from tunegate.api.conditions import rfc3339
from tunegate.api.stage.ends import ProgressReport
from tunegate.reconcile.attempt.pod_end import OVERDUE

Json = dict[str, Any]
LATE = OVERDUE.total_seconds() + 1
OWN_LIMIT = "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. "
PRESSURE = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 900Mi. "


def train(world: World) -> Json:
    found: Json = world.status["stages"][2]
    return found


def end(world: World) -> Json:
    """Let the Job controller see the end, and the operator count it."""
    world.sync_jobs()
    world.reap()
    world.reconcile()
    return train(world)


def evict(world: World, pod: Json, message: str, code: int = 137) -> None:
    """What the kubelet writes when it evicts a pod."""
    taken = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message}
    pod["status"]["conditions"] = [taken]
    world.end_pod(pod, code)
    pod["status"] |= {"reason": "Evicted", "message": message}


def lose_node(world: World, pod: Json) -> None:
    """The node stops answering: Kubernetes deletes the pod, and nobody confirms that it has ended."""
    pod["spec"] = {**pod["spec"], "nodeName": "gpu-7"}
    taken = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "taint"}
    pod["status"] |= {"reason": "NodeLost", "conditions": [taken]}
    world.terminate(pod)


@pytest.mark.parametrize("code", [137, 143, 75])
def test_a_pod_that_used_too_much_storage_of_its_own_is_an_error_that_is_believed_the_second_time(code: int) -> None:
    world = World(spec={"limits": {"maxErrors": 9}})
    evict(world, run_to(world, "Train"), OWN_LIMIT, code)
    first = end(world)
    assert (first["reason"], first["errors"], first["disruptions"]) == ("StorageFull", 1, 0)
    assert "ephemeral storage" in first["message"]
    world.pass_time(60)
    evict(world, run_to(world, "Train"), OWN_LIMIT, code)
    end(world)
    assert condition(world.status, "Complete")["reason"] == "StorageFull"
    assert "workspace.size" in world.status["message"]
    assert "calmer" not in world.status["message"]


def test_a_pod_that_its_node_evicted_is_a_disruption_that_says_why() -> None:
    world = World()
    evict(world, run_to(world, "Train"), PRESSURE)
    lost = end(world)
    assert (lost["reason"], lost["errors"], lost["disruptions"]) == ("Evicted", 0, 1)
    assert "low on resource" in lost["message"]
    world.reconcile()
    assert train(world)["attempt"] == 2


@pytest.mark.parametrize(
    ("code", "reason", "counted"),
    [
        (8, "StorageFull", "errors"),
        (9, "DevicesMissing", "disruptions"),
        (10, "PeersMissing", "disruptions"),
        (11, "RegistryFull", "disruptions"),
    ],
)
def test_what_a_stage_lacks_is_counted_and_waited_for(code: int, reason: str, counted: str) -> None:
    world = World()
    world.end_pod(run_to(world, "Train"), code, message=f'{{"reason": "{reason}", "message": "this is missing"}}')
    lost = end(world)
    assert (lost["state"], lost["reason"], lost[counted]) == ("Waiting", reason, 1)
    assert lost["message"] == "attempt 1: this is missing"
    world.pass_time(9)
    world.reconcile()
    assert train(world)["attempt"] == 1
    world.pass_time(2)
    world.reconcile()
    assert train(world)["attempt"] == 2
    world.settle()
    assert world.status["phase"] == "Succeeded"


@pytest.mark.parametrize(("code", "advice"), [(9, "driver"), (10, "numNodes"), (4, "is there again"), (75, "calmer")])
def test_the_last_word_about_disruptions_says_what_to_do_about_this_one(code: int, advice: str) -> None:
    world = World(spec={"limits": {"maxDisruptions": 0}})
    world.end_pod(run_to(world, "Train"), code)
    end(world)
    assert condition(world.status, "Complete")["reason"] == "DisruptionBudgetSpent"
    assert advice in world.status["message"]


def test_a_pod_that_the_kubelet_refuses_is_not_made_again_at_once() -> None:
    world = World()
    pod = run_to(world, "Train")
    pod["status"] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Allocate failed"}
    lost = end(world)
    assert (lost["reason"], lost["disruptions"]) == ("Unavailable", 1)
    assert "its pod never ran: Allocate failed" in lost["message"]
    world.reconcile()
    assert train(world)["attempt"] == 1


def test_peers_that_fell_because_a_pod_was_evicted_are_no_error() -> None:
    world = World(spec={"method": {"type": "LoRA", "numNodes": 2}})
    first = run_to(world, "Train")
    second = next(pod for pod in world.active_pods() if pod is not first)
    world.end_pod(first, 1)
    evict(world, second, PRESSURE)
    lost = end(world)
    assert (lost["reason"], lost["errors"], lost["disruptions"]) == ("Evicted", 0, 1)


def test_the_node_of_a_lost_pod_is_named_and_the_attempt_ends_after_a_while() -> None:
    world = World()
    pod = run_to(world, "Train")
    lose_node(world, pod)
    world.reconcile()
    assert condition(world.status, "Scheduled")["reason"] == "NodeLost"
    assert "node gpu-7 does not answer" in world.status["message"]
    assert train(world)["state"] == "Running"
    world.pass_time(LATE)
    world.reconcile()
    lost = train(world)
    assert (lost["state"], lost["reason"], lost["disruptions"]) == ("Waiting", "NodeLost", 1)
    assert lost["jobName"] not in world.jobs, "it would go on forever"


def test_no_training_starts_while_the_lost_pod_may_still_write() -> None:
    world = World()
    pod = run_to(world, "Train")
    lose_node(world, pod)
    world.pass_time(LATE)
    for _ in range(3):
        world.reconcile()
        world.pass_time(60)
    assert train(world)["attempt"] == 1
    assert condition(world.status, "Scheduled")["reason"] == "NodeLost"
    name = pod["metadata"]["name"]
    assert "kubectl delete node gpu-7" in world.status["message"]
    assert f"kubectl delete pod {name} -n" in world.status["message"]
    world.reap()
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert train(world)["attempt"] == 2


def test_a_pod_that_does_not_end_on_a_node_that_answers_is_said_to_be_that() -> None:
    world = World()
    pod = run_to(world, "Train")
    world.terminate(pod)
    world.reconcile()
    assert "was deleted and is ending" in world.status["message"]
    world.pass_time(LATE)
    world.reconcile()
    lost = train(world)
    assert (lost["reason"], lost["disruptions"]) == ("Disrupted", 1)
    assert "does not end" in lost["message"]


def test_a_verdict_counts_although_a_peer_of_it_is_lost() -> None:
    world = World(spec={"method": {"type": "LoRA", "numNodes": 2}})
    first = run_to(world, "Train")
    second = next(pod for pod in world.active_pods() if pod is not first)
    world.answer(first)
    lose_node(world, second)
    job = world.jobs[train(world)["jobName"]]
    job["status"]["conditions"] = [{"type": "Failed", "status": "True"}]
    world.pass_time(LATE)
    world.reconcile()
    assert train(world)["state"] == "Done"


def test_a_job_that_is_suspended_while_its_node_is_lost_counts_nothing() -> None:
    world = World()
    pod = run_to(world, "Train")
    lose_node(world, pod)
    world.spec = {**world.spec, "suspend": True}
    world.pass_time(LATE)
    for _ in range(2):  # First its Job is deleted, and then it is entered that it was suspended.
        world.reconcile()
    assert world.status["phase"] == "Suspended"
    assert train(world)["disruptions"] == 0


@pytest.mark.parametrize(
    ("refusal", "status", "reason", "said"),
    [
        ('pods "x" is forbidden: exceeded quota: gpus, requested: a=1, used: a=8, limited: a=8', "False", "WaitingForQuota", "quota"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "False", "StageRunning", "violates PodSecurity"),
        (None, "Unknown", "StageRunning", "has made 0 of 1 pod;"),
    ],
)  # fmt: skip
def test_why_kubernetes_makes_no_pod_is_said(refusal: str | None, status: str, reason: str, said: str) -> None:
    world = World(pod_refusal=refusal)
    world.reconcile()
    world.reconcile()
    scheduled = condition(world.status, "Scheduled")
    assert (scheduled["status"], scheduled["reason"]) == (status, reason)
    assert said in world.status["message"]


def test_a_stage_that_says_that_nothing_goes_on_is_ended_and_tried_again() -> None:
    world = World()
    run_to(world, "Train")
    world.progress = ProgressReport(stage="Train", percent=40, step=3, total_steps=9, unchanged_seconds=7200)
    world.reconcile()
    assert train(world)["state"] == "Running"
    world.progress = world.progress.model_copy(update={"unchanged_seconds": 7201})
    world.reconcile()
    lost = train(world)
    assert (lost["state"], lost["reason"], lost["errors"]) == ("Waiting", "Stalled", 1)
    assert "no progress for 7201 s at 40 %" in lost["message"]
    assert train(world)["jobName"] not in world.jobs


@pytest.mark.parametrize(("stage", "at"), [("Baseline", 1), ("Evaluate", 4)])
def test_a_stage_whose_engine_hangs_is_ended_and_tried_again_in_another_pod(stage: Any, at: int) -> None:
    """Its pod answers, and says that no question was answered for so long."""
    world = World()
    run_to(world, stage)
    world.progress = ProgressReport(stage=stage, percent=12, step=3, total_steps=24, unchanged_seconds=7201)
    world.reconcile()
    hung = world.status["stages"][at]
    assert (hung["name"], hung["state"], hung["reason"]) == (stage, "Waiting", "Stalled")
    assert "limits.maxSecondsWithoutProgress allows 7200" in hung["message"]
    assert hung["jobName"] not in world.jobs


@pytest.mark.parametrize("report", [None, ProgressReport(stage="Baseline", percent=1, unchanged_seconds=99_999)])
def test_a_stage_that_does_not_answer_is_not_taken_for_one_that_stands_still(report: ProgressReport | None) -> None:
    world = World()
    run_to(world, "Train")
    world.progress = report
    world.pass_time(500_000)
    world.reconcile()
    assert train(world)["state"] == "Running"


def test_the_bound_without_progress_is_the_jobs_own() -> None:
    world = World(spec={"limits": {"maxSecondsWithoutProgress": 60}})
    run_to(world, "Train")
    world.progress = ProgressReport(stage="Train", percent=40, unchanged_seconds=61)
    world.reconcile()
    assert train(world)["reason"] == "Stalled"


def test_a_stage_that_takes_longer_than_the_job_allows_ends_the_job() -> None:
    world = World(spec={"limits": {"maxSeconds": 600}})
    run_to(world, "Train")
    world.pass_time(600)
    world.reconcile()
    assert train(world)["state"] == "Running"
    world.pass_time(1)
    world.reconcile()
    world.reconcile()
    assert condition(world.status, "Complete")["reason"] == "DeadlineExceeded"
    assert "ran for 601 s, limits.maxSeconds allows 600" in world.status["message"]
    assert train(world)["jobName"] not in world.jobs


def test_a_reason_that_this_version_does_not_know_stops_nothing() -> None:
    """Written by a newer operator that was rolled back since."""
    world = World()
    world.end_pod(run_to(world, "Train"), 1)
    end(world)
    world.status["stages"][2] |= {"reason": "Teleported", "completionTime": rfc3339(world.now)}
    world.pass_time(700)
    world.settle()
    assert world.status["phase"] == "Succeeded"
