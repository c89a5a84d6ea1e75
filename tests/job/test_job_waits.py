"""What a job says while it waits, is suspended or goes on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.builders import HUB_SOURCE, make_approvalpolicy, make_evaluationsuite
from tests.support.job_world import WORKSPACE, World, condition, run_to
from tests.support.stage_documents import SETTINGS, job, world_objects
from tunegate.admission.rules import Window
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.stage.ends import ProgressReport
from tunegate.api.stage.layout import STORE_REQUIRED
from tunegate.reconcile.attempt.scheduling import no_node
from tunegate.reconcile.finetunejob.observed import Observed, StoreSecret
from tunegate.reconcile.finetunejob.planner import plan

Json = dict[str, Any]


def first_plan(**changes: Any) -> Any:
    facts = {**world_objects(), **changes}
    spec = facts.pop("spec", {})
    return plan(Observed(job=job(**spec), fresh_credential="{}", **facts), World().now, SETTINGS)


def data(**changes: Any) -> Json:
    return {"dataset": {**job().spec.dataset.to_dict(), **changes}}


UNLABELLED = {"data": {"metadata": {"name": "data"}}, "models": {"metadata": {"name": "models"}}}
HASHING = world_objects()["base_model"].model_copy(
    update={"status": world_objects()["base_model"].status.model_copy(update={"phase": "Hashing"})}
)
IN_STORE = data(uri="s3://training/rows.jsonl", secretName="bucket")
SEARCHED = {"baseline": {"documents": {"uri": "s3://manuals/2026", "secretName": "shelf"}}}
MANUALS = {"baseline": {"documents": {"uri": "pvc://manuals/2026"}}}
CLOSED_CLAIM = {**world_objects()["claims"], "manuals": {"metadata": {"name": "manuals"}}}
CLOSED = StoreSecret({}, frozenset(STORE_REQUIRED))
MIRRORED = HASHING.model_copy(
    update={
        "spec": HASHING.spec.model_copy(update={"source": HUB_SOURCE}), "status": world_objects()["base_model"].status,
    }
)  # fmt: skip
POOR = StoreSecret({"tunegate.io/usable-by-jobs": "true"}, frozenset({"AWS_ACCESS_KEY_ID"}))


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"policy": None}, "WaitingForPolicy", "ApprovalPolicy"),
        ({"server": None}, "WaitingForServer", "kubectl get modelservers"),
        ({"suite": None}, "WaitingForSuite", "EvaluationSuite suite"),
        ({"pool": None}, "WaitingForPool", "ComputePool pool"),
        ({"base_model": None}, "WaitingForBaseModel", "not in the catalogue"),
        ({"base_model": HASHING}, "WaitingForBaseModel", "Hashing"),
        ({"base_manifest": None}, "WaitingForBaseModel", "registry"),
        ({"base_model": MIRRORED}, "WaitingForBaseModel", "hubMirror.endpoint"),
        ({"claims": {}}, "WaitingForVolume", "does not exist"),
        ({"claims": UNLABELLED}, "WaitingForVolume", "usable-by-jobs=true"),
        ({"denied": ("computepools/pool",)}, "NotAllowed", "computepools/pool"),
        ({"spec": IN_STORE}, "WaitingForSecret", "does not exist"),
        ({"spec": IN_STORE, "store_secret": CLOSED}, "WaitingForSecret", "kubectl label secret -n team bucket"),
        ({"spec": IN_STORE, "store_secret": POOR}, "WaitingForSecret", "lacks AWS_ENDPOINT_URL, AWS_SECRET_ACCESS_KEY"),
        ({"spec": SEARCHED}, "WaitingForSecret", "spec.baseline.documents.secretName names the Secret shelf"),
        ({"spec": SEARCHED, "documents_secret": CLOSED}, "WaitingForSecret", "kubectl label secret -n team shelf"),
        ({"spec": MANUALS}, "WaitingForVolume", "spec.baseline.documents.uri names the PersistentVolumeClaim manuals"),
        ({"spec": MANUALS, "claims": CLOSED_CLAIM}, "WaitingForVolume", "kubectl label pvc -n team manuals"),
    ],
)
def test_a_job_that_cannot_start_says_what_it_waits_for(changes: Json, reason: str, says: str) -> None:
    step = first_plan(**changes)
    assert step.status["phase"] == "Pending"
    assert condition(step.status, "Scheduled")["reason"] == reason
    assert condition(step.status, "Complete")["status"] == "Unknown"
    assert says in step.status["message"]
    assert [entry.type for entry in step.audit] == ["JobRequested"]
    assert not step.creates
    assert step.requeue_after
    assert [note.reason for note in step.events] == [reason]


@pytest.mark.attack(60)
@pytest.mark.parametrize("listed", [(), ("registry.example/vllm@sha256:" + "7" * 64,)])
def test_no_stage_of_a_job_runs_with_an_engine_image_that_is_not_listed(listed: tuple[str, ...]) -> None:
    step = first_plan(engine_images=listed)
    found = condition(step.status, "Scheduled")
    assert (found["status"], found["reason"]) == ("False", "ImageNotAllowed")
    for word in ("ModelServer server", "images.engines", *(listed or ("empty",))):
        assert word in found["message"]
    assert step.creates == ()
    assert step.requeue_after


def test_nothing_new_is_said_twice() -> None:
    world = World()
    status = dict(first_plan(server=None).status)
    seen = Observed(job=job(status), **{**world_objects(), "server": None})
    again = plan(seen, world.now, SETTINGS)
    assert again.status == status
    assert not again.events
    assert not again.audit


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        (data(classification="PHI"), "NotAllowed", "classified PHI"),
        (data(expirationDate="2020-12-31"), "NotAllowed", "may be kept until 2020-12-31"),
        ({"method": {"type": "LoRA", "numNodes": 9}}, "NotAllowed", "maxNodes"),
        (data(uri="pvc://data/../x"), "BadInput", "'..'"),
    ],
)
def test_a_job_that_may_never_start_fails_at_once(spec: Json, reason: str, says: str) -> None:
    step = first_plan(spec=spec)
    assert step.status["phase"] == "Failed"
    assert condition(step.status, "Complete")["reason"] == reason
    assert says in step.status["message"]
    assert "new job" in step.status["message"]
    assert [entry.type for entry in step.audit] == ["JobRequested", "JobFinished"]


def test_a_job_that_is_refused_anyway_waits_for_nothing_first() -> None:
    """Neither label nor server nor suite would help it."""
    for spec, policy, says in (
        (data(classification="PHI"), {}, "ask the policy's owner to allow this one first"),
        (data(expirationDate="2020-12-31"), {}, "may be kept until 2020-12-31"),
        ({}, {"requiredRights": ["Steward"]}, "spec.dataset.steward"),
        ({"suiteRef": {"name": "own"}}, {"requiredSuiteRefs": [{"name": "suite"}]}, "add own to requiredSuiteRefs"),
        ({"method": {"type": "LoRA", "rank": 64}}, {}, "profile.maxLoraRank of ModelServer server is 16"),
    ):
        bound = ApprovalPolicy.model_validate(make_approvalpolicy(**policy))
        for absent in ({"claims": UNLABELLED}, {"suite": None}, {"base_model": HASHING}):
            step = first_plan(spec=spec, policy=bound, **absent)
            assert (step.status["phase"], says in step.status["message"]) == ("Failed", True), step.status["message"]
    gone = data(uri=f"oci://team/datasets/notices@sha256:{'4' * 64}")
    for absent in ({"claims": UNLABELLED}, {"suite": None}, {"base_model": HASHING}):
        step = first_plan(spec=gone, pushed={gone["dataset"]["uri"]: None}, **absent)
        assert "nothing was pushed at" in step.status["message"]


def test_a_job_whose_suite_can_judge_nothing_fails_before_a_pod_is_made() -> None:
    broken = make_evaluationsuite(baselines={"regex": "(?P<due", "regexTemplate": "{due}"})
    step = first_plan(suite=EvaluationSuite.model_validate(broken))
    assert (step.status["phase"], condition(step.status, "Complete")["reason"]) == ("Failed", "BadInput")
    assert "EvaluationSuite suite can judge nothing: baselines.regex: missing >" in step.status["message"]
    assert not step.creates


def test_a_job_of_an_accepted_suite_starts_and_one_of_another_never_does() -> None:
    policy = ApprovalPolicy.model_validate(make_approvalpolicy(requiredSuiteRefs=[{"name": "a"}, {"name": "suite"}]))
    assert first_plan(policy=policy).status["phase"] == "Validating"
    refused = first_plan(policy=policy, spec={"suiteRef": {"name": "other"}})
    assert condition(refused.status, "Complete")["reason"] == "SuiteNotAccepted"
    assert "it accepts a, suite." in refused.status["message"]


@pytest.mark.parametrize(
    ("place", "advice"),
    [("policy", "ask the policy's owner"), ("base_model", "server and pool"), ("pool", "server and pool")],
)
def test_the_advice_on_a_class_of_data_fits_what_does_not_allow_it(place: str, advice: str) -> None:
    found = world_objects()[place]
    field = "allowed_data" if place == "policy" else "cleared_for"
    strict = found.model_copy(update={"spec": found.spec.model_copy(update={field: ["Public"]})})
    step = first_plan(**{place: strict}, spec=data(classification="Internal"))
    assert step.status["phase"] == "Failed"
    assert advice in step.status["message"]


STATED = {"steward": "Ada", "expirationDate": "2999-12-31", "license": "MIT OR LicenseRef-contract-17"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steward": " "}, "spec.dataset.steward"),
        ({"expirationDate": None}, "spec.dataset.expirationDate"),
        ({"license": "our contract"}, "SPDX license expression in spec.dataset.license: nobody knows our contract"),
        ({"license": "MIT AND"}, "SPDX license expression"),
        ({"license": ""}, "it is empty"),
    ],
)
def test_what_a_policy_wants_stated_of_the_data_has_to_be_stated(changes: Json, says: str) -> None:
    strict = make_approvalpolicy(requiredRights=["Steward", "Retention", "SpdxLicense"])
    policy = ApprovalPolicy.model_validate(strict)
    refused = first_plan(policy=policy, spec=data(**{**STATED, **changes}))

    assert (refused.status["phase"], says in refused.status["message"]) == ("Failed", True)
    assert first_plan(policy=policy, spec=data(**STATED)).status["phase"] == "Validating"
    assert first_plan(spec=data(**{**STATED, **changes})).status["phase"] == "Validating"


@pytest.mark.attack(31)
def test_a_job_that_was_made_without_admission_rules_does_not_start() -> None:
    made = datetime.fromisoformat(job().metadata["creationTimestamp"])
    before = Window(made - timedelta(minutes=2), made - timedelta(minutes=1))

    assert first_plan(windows=(before,)).status["phase"] == "Validating"
    refused = first_plan(windows=(before, Window(made, made))).status
    assert (refused["phase"], condition(refused, "Complete")["reason"]) == ("Failed", "RulesNotInForce")


def test_data_may_be_used_on_the_last_day_and_not_on_the_next() -> None:
    today = World().now.date()
    for day, phase in ((today, "Validating"), (today - timedelta(days=1), "Failed")):
        assert first_plan(spec=data(expirationDate=day.isoformat())).status["phase"] == phase


WAITING: list[tuple[Json, str, str]] = [
    (
        {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient nvidia.com/gpu."}]},
        "WaitingForDevice", "Insufficient nvidia.com/gpu",
    ),
    (
        {"conditions": [{"type": "PodScheduled", "status": "False", "message": "unbound immediate PersistentVolumeClaims"}]},
        "WaitingForVolume", "PersistentVolumeClaims",
    ),
    (
        {"containerStatuses": [{"name": "stage", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}]},
        "WaitingForImage", "ImagePullBackOff",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("status", "reason", "says"), WAITING)
def test_a_pod_that_hangs_tells_for_what_it_waits(status: Json, reason: str, says: str) -> None:
    world = World()
    pod = run_to(world, "Train")
    pod["status"] = {"phase": "Pending", **status}
    step = world.reconcile()
    assert step is not None
    assert world.status["phase"] == "Queued"
    assert condition(world.status, "Scheduled")["status"] == "False"
    assert condition(world.status, "Scheduled")["reason"] == reason
    assert says in world.status["message"]
    assert [note.reason for note in step.events] == [reason]
    again = world.reconcile()
    assert again is not None
    assert not again.events


ROOM = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {gpu: only}. no new claims to deallocate, "
ROOM += "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod."


def test_a_stage_that_finds_no_room_is_queued_and_says_in_one_sentence_what_is_missing() -> None:
    world = World()
    pod = run_to(world, "Baseline")
    pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": ROOM}]}
    world.reconcile()
    assert world.status["phase"] == "Queued"
    assert world.status["message"] == (
        "Baselining: no node can take the pod: of 3 nodes, 1 has too little free cpu, 2 have a taint (gpu). "
        "It starts by itself when there is room."
    )


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "of 1 node, 1 has too little free nvidia.com/gpu"),
        (
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 Too many pods. preemption: no",
            "of 2 nodes, 1 has labels of another pool, 1 has no room for another pod",
        ),
        ("0/1 nodes are available: 1 node(s) had a new fault.", "of 1 node, 1 node(s) had a new fault"),
        ("unbound immediate PersistentVolumeClaims.", "unbound immediate PersistentVolumeClaims"),
    ],
)
def test_what_the_scheduler_reports_becomes_a_sentence(message: str, sentence: str) -> None:
    assert no_node(message) == f"no node can take the pod: {sentence}"


@pytest.mark.parametrize(
    ("report", "says"),
    [
        ({"remaining_seconds": 5000}, "Training: step 12 of 60, 20 %, about 1 h 23 min left."),
        ({"remaining_seconds": 700}, "Training: step 12 of 60, 20 %, about 12 min left."),
        (
            {"remaining_seconds": 0, "message": "the best one is chosen"},
            "Training: step 12 of 60, 20 %; the best one is chosen.",
        ),
    ],
)
def test_the_time_left_is_told_as_people_say_it_and_never_as_none(report: Json, says: str) -> None:
    world = World()
    run_to(world, "Train")
    made = ProgressReport(stage="Train", **{"percent": 20, "step": 12, "total_steps": 60, **report})
    step = plan(Observed(**{**world.observe().__dict__, "progress": made}), world.now, SETTINGS)
    assert (step.status or {})["message"] == says


def test_progress_never_falls_within_an_attempt() -> None:
    world = World()
    run_to(world, "Train")

    def told(percent: int) -> Any:
        report = ProgressReport(
            stage="Train", percent=percent, step=12, total_steps=60, loss=1.25, remaining_seconds=95
        )
        seen = world.observe()
        step = plan(Observed(**{**seen.__dict__, "progress": report}), world.now, SETTINGS)
        world.status = dict(step.status or {})
        return world.status

    assert told(20)["message"] == "Training: step 12 of 60, 20 %, loss 1.2500, about 95 s left."
    assert told(18)["progress"]["percent"] == 20
    assert told(25)["progress"] == {
        "percent": 25,
        "step": 12,
        "totalSteps": 60,
        "loss": "1.2500",
        "remainingSeconds": 95,
    }


def test_progress_is_gone_when_the_stage_is_done() -> None:
    world = World()
    pod = run_to(world, "Train")
    world.status["progress"] = {"percent": 99}
    world.answer(pod)
    world.sync_jobs()
    world.reconcile()
    assert world.status["stages"][2]["state"] == "Done"
    assert "progress" not in world.status


def test_suspending_deletes_the_attempt_and_costs_no_budget() -> None:
    world = World()
    run_to(world, "Train")
    world.pass_time(1800)
    world.spec["suspend"] = True
    first = world.reconcile()
    assert first is not None
    assert (len(first.deletes), first.audit, first.status) == (1, (), None), (
        "what stops waits for no record and no status"
    )
    world.reconcile()
    assert world.status["phase"] == "Suspended"
    assert not [found for found in world.jobs.values() if not world.over(found)]
    assert ("PersistentVolumeClaim", WORKSPACE) in world.others
    assert world.status["deviceHours"] == "0.5000"
    world.spec["suspend"] = False
    world.reconcile()
    assert world.status["stages"][2]["attempt"] == 1, "the old pod has not ended yet"
    world.reap()
    world.reconcile()
    train = world.status["stages"][2]
    assert (train["attempt"], train["disruptions"], train["errors"]) == (2, 0, 0)


def test_a_result_that_cannot_be_read_now_is_waited_for() -> None:
    world = World()
    world.answer(run_to(world, "Train"))
    world.sync_jobs()
    world.registry_down = True
    for _ in range(5):
        world.reconcile()
        world.pass_time(60)
    assert world.status["stages"][2]["state"] == "Running"
    assert world.status["stages"][2]["errors"] == 0
    world.registry_down = False
    world.settle()
    assert world.status["phase"] == "Succeeded"


def test_a_suspension_whose_status_was_lost_costs_no_budget() -> None:
    world = World()
    pod = run_to(world, "Train")
    world.spec["suspend"] = True
    world.reconcile(writes=1)
    assert world.status["stages"][2]["state"] == "Running", "killed after the deletion"
    world.end_pod(pod, 75)
    world.reconcile()
    train = world.status["stages"][2]
    assert (world.status["phase"], train["state"], train["disruptions"]) == ("Suspended", "Waiting", 0)
