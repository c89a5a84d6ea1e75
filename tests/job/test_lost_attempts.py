"""How lost attempts are counted and tried again, and what ends the job when they are too many."""

from __future__ import annotations

from typing import Any

import pytest

from tests.job.test_job_ends import Json
from tests.support.job_world import World, condition, run_to


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
    pod = run_to(world, "Train")
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
        world.end_pod(run_to(world, "Train"), 137, "OOMKilled")
        world.sync_jobs()
        world.reconcile()
        world.pass_time(60)
    assert condition(world.status, "Complete")["reason"] == "OutOfMemory"
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
        world.end_pod(run_to(world, "Train"), code)
        world.sync_jobs()
        world.reconcile()
        world.pass_time(60)
    assert condition(world.status, "Complete")["reason"] == reason


def test_one_broken_pod_explains_why_its_peers_were_stopped() -> None:
    world = World(spec={"method": {"type": "LoRA", "numNodes": 2}})
    first = run_to(world, "Train")
    second = next(pod for pod in world.active_pods() if pod is not first)
    world.end_pod(second, 1)
    world.end_pod(first, 75)
    world.sync_jobs()
    world.reconcile()
    assert world.status["stages"][2]["reason"] == "Unknown"


def test_an_engine_that_never_comes_up_ends_the_attempt() -> None:
    world = World()
    pod = run_to(world, "Baseline")
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
    pod = run_to(world, "Evaluate")
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
    pod = run_to(world, "Validate")
    world.answer(pod)
    pod["status"]["phase"] = "Failed"
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = 1
    world.sync_jobs()
    world.reconcile()
    assert world.status["stages"][0]["reason"] == "Unknown"


def test_a_job_of_an_attempt_that_is_over_is_deleted() -> None:
    """A request to create it was long on its way, from an operator that has lost its lease since."""
    world = World()
    world.end_pod(run_to(world, "Train"), 75)
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


def test_an_attempt_whose_pod_still_ends_is_not_judged_yet() -> None:
    """The Job is gone, the pod writes its checkpoint: there is time for that before the next attempt."""
    world = World()
    pod = run_to(world, "Train")
    world.delete("Job", world.status["stages"][2]["jobName"])
    world.reconcile()
    assert world.status["stages"][2]["state"] == "Running"
    world.end_pod(pod, 75)
    world.reconcile()
    train = world.status["stages"][2]
    assert (train["state"], train["reason"]) == ("Waiting", "Preempted")
