"""Waivers: who lets a refused job go on, for which findings, and what is dropped, kept and told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.builders import make_approval, make_approvalpolicy, make_finetunejob
from tests.support.job_world import World, condition, run_to
from tests.support.release_walk import Walk
from tests.support.stage_documents import validated
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy, IdentityRule, WaiverRule
from tunegate.api.conditions import rfc3339
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.spec import Intent
from tunegate.api.finetunejob.status import WaiverFinding
from tunegate.api.stage.findings import Finding
from tunegate.digests import document_digest
from tunegate.reconcile.approvals import names
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.release.waiver import applying, waiver_digest
from tunegate_trainer.validation.limits import check_intent

Json = dict[str, Any]
STEWARD: Json = {"name": "steward", "groups": ["stewards"], "findings": ["MinimumExamples", "PersonalData"]}
FINANCE: Json = {"name": "finance", "groups": ["finance"], "findings": ["Budget"]}
FEW = Finding(check="MinimumExamples", action="Block", count=37, message="37 usable examples, Format needs 200")
DEAR = Finding(check="Budget", action="Block", count=1, message="estimated cost 90 EUR, the budget allows 50")
MAIL = Finding(check="PersonalData", action="Block", count=3, rows=["2", "5", "8"], message="3 rows: e-mail addresses")
ADDRESSES = Finding(check="PersonalData", action="Block", count=1, rows=["9"], message="1 row: IP addresses")
SECRET = Finding(check="Secrets", action="Block", count=1, rows=["4"], message="1 row holds a secret: AWS keys")
GROUPS = {"stella": ("steward", "stewards"), "fred": ("finance", "finance"), "engineer": ("steward", "stewards")}
Decisions = list[Approval]


@dataclass
class WaiverWorld(World):
    """A job whose policy knows waivers, and the decisions of people on it."""

    waivers: list[Json] = field(default_factory=lambda: [STEWARD, FINANCE])
    identity: Json | None = None
    policy_exists: bool = True
    unverified_requester: str = "Deny"
    decisions: Decisions = field(default_factory=list)
    unauthorized: set[str] = field(default_factory=set)

    def observe(self) -> Observed:
        rules: Json = {
            "waivers": self.waivers, "identity": self.identity, "unverifiedRequester": self.unverified_requester
        }  # fmt: skip
        policy = ApprovalPolicy.model_validate(make_approvalpolicy(**rules))
        backed = {one.uid for one in self.decisions if one.spec.approver.username not in self.unauthorized}
        seen = super().observe()
        return replace(
            seen,
            policy=policy if self.policy_exists else None,
            approvals=tuple(one for one in self.decisions if names(one, seen.job)),
            authorized=frozenset(backed),
        )

    def refuse(self, *findings: Finding, **changes: Any) -> WaiverWorld:
        """Let validation refuse the job."""
        self.answer(run_to(self, "Validate"), validated("Refused", findings=list(findings), **changes))
        self.sync_jobs()
        self.reconcile()
        return self

    def decide(self, who: str, decision: str = "Approve", **changes: Any) -> Approval:
        role, group = GROUPS.get(who, ("steward", "stewards"))
        job = self.observe().job
        name = f"{who}-{len(self.decisions)}"
        spec: Json = {
            "subjectRef": {"kind": "FineTuneJob", "name": job.name, "uid": job.uid},
            "subjectDigest": self.status["waiver"]["digest"],
            "role": role,
            "decision": decision,
            "approver": {"username": who, "groups": [group]},
            "reason": "the rows were read",
        }
        obj = make_approval(name, job.namespace, **{**spec, **changes})
        obj["metadata"] |= {"uid": f"uid-{name}", "creationTimestamp": rfc3339(self.now)}
        made = Approval.model_validate(obj)
        self.decisions.append(made)
        return made

    def dropped(self) -> dict[str, str]:
        return {one["username"]: one["reason"] for one in self.status["waiver"]["dropped"]}


def test_a_refused_job_waits_and_tells_the_reviewer_what_to_run() -> None:
    world = WaiverWorld().refuse(FEW, DEAR, MAIL, ADDRESSES)

    assert world.status["phase"] == "PendingWaiver"
    assert world.status["waiver"]["approvals"] == "0/2"
    assert [(one["role"], one["missing"]) for one in world.status["waiver"]["missing"]] == [
        ("finance", 1),
        ("steward", 1),
    ]
    found = {one["check"]: (one["count"], one["message"]) for one in world.status["waiver"]["findings"]}
    assert found["PersonalData"] == (4, "3 rows: e-mail addresses (rows 2, 5, 8). 1 row: IP addresses (rows 9).")
    assert "tunegate approve job/copyright -n team --reason" in world.status["message"]
    assert condition(world.status, "Waived")["reason"] == "WaitingForWaiver"
    assert condition(world.status, "Complete")["status"] == "Unknown"
    assert len(world.history) == 1, "nothing runs while people decide"


def test_a_waiver_of_all_roles_lets_the_job_go_on_to_its_end() -> None:
    world = WaiverWorld().refuse(FEW, DEAR)
    world.decide("stella")
    world.reconcile()
    assert world.status["waiver"]["approvals"] == "1/2"
    assert world.status["phase"] == "PendingWaiver"
    world.decide("fred")
    step = world.reconcile()

    assert step is not None
    assert [entry.type for entry in step.audit][-1] == "WaiverGranted"
    granted = step.audit[-1]
    assert granted.key == f"{world.status['waiver']['digest']} uid-fred-1,uid-stella-0"
    assert granted.payload["findings"] == "MinimumExamples 37, Budget 1"
    assert condition(world.status, "Waived")["status"] == "True"
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert world.status["waiver"]["grantedTime"]
    assert "WaiverGranted" in world.audit.values()


def test_a_job_killed_after_any_write_of_the_grant_is_granted_once() -> None:
    for writes in range(4):
        world = WaiverWorld().refuse(FEW)
        world.decide("stella")
        world.reconcile(writes=writes)
        world.reconcile()
        assert condition(world.status, "Waived")["status"] == "True"
        assert list(world.audit.values()).count("WaiverGranted") == 1
        assert list(world.audit.values()).count("ApprovalRecorded") == 1


@pytest.mark.parametrize(
    ("waivers", "findings", "hard"),
    [
        ([], (FEW,), ""),
        ([STEWARD], (FEW, SECRET), "nobody can waive Secrets"),
        ([STEWARD], (FEW, Finding(check="Memory", action="Block", count=1, message="does not fit")), "waive Memory"),
    ],
)
def test_a_finding_that_no_role_may_waive_ends_the_job(waivers: list[Json], findings: Any, hard: str) -> None:
    world = WaiverWorld(waivers=waivers).refuse(*findings)

    assert world.status["phase"] == "Failed"
    assert condition(world.status, "Complete")["reason"] == "ValidationRefused"
    assert hard in world.status["message"]
    assert "waiver" not in world.status


def test_every_approval_that_does_not_count_is_shown_with_its_reason() -> None:
    world = WaiverWorld().refuse(FEW)
    job = world.observe().job
    world.decide("fred")
    world.decide("engineer")
    world.decide("ann", approver={"username": "ann", "groups": ["engineers"]})
    world.decide("bob", subjectDigest="sha256:" + "9" * 64)
    world.decide("eve", expirationTime=rfc3339(world.now))
    world.decide("una")
    world.unauthorized.add("una")
    world.decide("old", subjectRef={"kind": "FineTuneJob", "name": job.name, "uid": "an-earlier-job"})
    world.reconcile()

    assert world.status["phase"] == "PendingWaiver"
    assert world.dropped() == {
        "fred": "UnknownRole", "engineer": "IsRequester", "ann": "NotInRoleGroup", "bob": "WrongDigest",
        "eve": "Expired", "una": "NotAuthorized", "old": "WrongSubject",
    }  # fmt: skip
    assert "fred-0 (UnknownRole)" in world.status["message"]


def test_one_person_fills_one_slot_and_may_take_it_back() -> None:
    world = WaiverWorld(waivers=[{**STEWARD, "minApprovals": 2}]).refuse(FEW)
    world.decide("stella")
    world.decide("stella")
    world.reconcile()
    assert (world.status["waiver"]["approvals"], world.dropped()) == ("1/2", {"stella": "SamePerson"})
    world.decide("stella", "Withdraw")
    world.reconcile()
    assert (world.status["waiver"]["approvals"], world.dropped()) == ("0/2", {"stella": "Withdrawn"})


def test_an_approval_ends_with_the_policys_age_and_the_job_waits_again() -> None:
    world = WaiverWorld(waivers=[{**STEWARD, "minApprovals": 2}]).refuse(FEW)
    world.decide("stella")
    step = world.reconcile()
    assert step is not None
    assert step.requeue_after == 604_801
    world.now += timedelta(days=8)
    world.reconcile()
    assert world.dropped() == {"stella": "Expired"}


def test_a_reject_is_final_and_recorded() -> None:
    world = WaiverWorld().refuse(FEW)
    world.decide("stella")
    world.decide("sara", "Reject", reason="this is too little data")
    world.reconcile()

    assert world.status["phase"] == "Failed"
    assert condition(world.status, "Complete")["reason"] == "WaiverRejected"
    assert world.status["message"].startswith("Refused by sara (steward)")
    assert "tunegate describe job/copyright -n team" in world.status["message"]
    assert list(world.audit.values())[-2:] == ["WaiverRejected", "JobFinished"]


def digest_of(*findings: Finding, spec: Json | None = None, waivers: list[Json] | None = None, **result: Any) -> str:
    world = WaiverWorld(spec=spec or {}, waivers=waivers or [STEWARD, FINANCE])
    return str(world.refuse(*findings, **result).status["waiver"]["digest"])


def test_the_digest_changes_with_data_findings_spec_and_rules_and_with_nothing_else() -> None:
    same = digest_of(FEW)
    assert digest_of(FEW, spec={"suspend": False, "ttlSecondsAfterFinished": 60}) == same
    assert digest_of(FEW, waivers=[STEWARD]) == same
    others = {
        digest_of(FEW, dataset_digest="sha256:" + "7" * 64),
        digest_of(FEW.model_copy(update={"count": 36})),
        digest_of(FEW, DEAR),
        digest_of(FEW, spec={"method": {"type": "LoRA", "epochs": 9}}),
        digest_of(FEW, waivers=[{**STEWARD, "minApprovals": 2}]),
        digest_of(FEW, waivers=[{**STEWARD, "groups": ["stewards", "everybody"]}]),
    }
    assert same not in others
    assert len(others) == 6


def test_the_digest_is_of_one_document_that_an_upgrade_must_not_change() -> None:
    job = FineTuneJob.model_validate(
        {**make_finetunejob(suspend=False), "metadata": {"name": "job", "namespace": "team", "uid": "uid-1"}}
    )
    findings = [
        WaiverFinding.model_validate({"check": one.check, "count": one.count, "message": one.message})
        for one in (FEW, DEAR)
    ]
    rules = applying([one.check for one in findings], [WaiverRule.model_validate(one) for one in (STEWARD, FINANCE)])
    spec = job.spec.to_dict()
    del spec["suspend"]
    assert waiver_digest(job, "data", "result", findings, rules) == document_digest({
        "form": "tunegate.io/waiver/v1",
        "job": {"uid": "uid-1", "spec": spec},
        "data": "data",
        "validation": "result",
        "findings": [["Budget", 1], ["MinimumExamples", 37]],
        "rules": [{**FINANCE, "minApprovals": 1}, {**STEWARD, "minApprovals": 1}],
    })  # fmt: skip
    rule = IdentityRule(max_auth_age_seconds=60)
    assert waiver_digest(job, "data", "result", findings, rules, rule) == document_digest({
        "form": "tunegate.io/waiver/v1",
        "job": {"uid": "uid-1", "spec": spec},
        "data": "data",
        "validation": "result",
        "findings": [["Budget", 1], ["MinimumExamples", 37]],
        "rules": [{**FINANCE, "minApprovals": 1}, {**STEWARD, "minApprovals": 1}],
        "identity": {"requirePersonId": False, "maxAuthAgeSeconds": 60},
    })  # fmt: skip


@pytest.mark.attack(4, 7)
def test_a_waiver_asks_for_the_same_identity_as_a_release() -> None:
    asks = {"requirePersonId": True, "maxAuthAgeSeconds": 3600}
    engineer = {"username": "engineer", "personId": "E-1"}
    world = WaiverWorld(identity=asks, spec={"requestedBy": engineer}).refuse(FEW)
    fresh, old = (rfc3339(world.now - timedelta(minutes=minutes)) for minutes in (60, 61))
    group = ["stewards"]
    world.decide("nora")
    world.decide("erin", approver={"username": "erin", "groups": group, "personId": "E-1", "authTime": fresh})
    world.decide("olga", approver={"username": "olga", "groups": group, "personId": "E-2", "authTime": old})
    world.reconcile()
    assert world.dropped() == {"nora": "NoPersonId", "erin": "IsRequester", "olga": "StaleSession"}
    assert world.status["waiver"]["identity"] == asks

    world.identity = {"requirePersonId": True}
    world.reconcile()
    assert world.dropped()["olga"] == "WrongDigest"
    world.decide("olga", approver={"username": "olga", "groups": group, "personId": "E-2"})
    world.reconcile()
    assert condition(world.status, "Waived")["status"] == "True"


def test_a_job_by_an_account_without_a_person_id_ends_before_anything_runs() -> None:
    world = WaiverWorld(identity={"requirePersonId": True})
    world.settle()
    assert (world.status["phase"], condition(world.status, "Complete")["reason"]) == ("Failed", "NotAllowed")
    assert (
        "asks which human engineer is, and spec.requestedBy has no personId. Sign in through the identity provider"
        in world.status["message"]
    )
    assert world.history == []


@pytest.mark.attack(23)
def test_rules_that_are_loosened_while_the_job_waits_ask_anew() -> None:
    world = WaiverWorld(waivers=[{**STEWARD, "minApprovals": 2}]).refuse(FEW)
    world.decide("stella")
    world.reconcile()
    world.waivers = [STEWARD]
    world.reconcile()
    assert (world.status["phase"], world.dropped()) == ("PendingWaiver", {"stella": "WrongDigest"})


def test_a_policy_that_allows_it_no_more_ends_the_job_and_one_that_is_gone_is_waited_for() -> None:
    world = WaiverWorld().refuse(FEW)
    world.decide("stella")
    world.policy_exists = False
    world.reconcile()
    assert world.status["phase"] == "PendingWaiver"
    assert condition(world.status, "Waived")["reason"] == "WaitingForPolicy"
    world.policy_exists, world.waivers = True, [FINANCE]
    world.reconcile()
    assert world.status["phase"] == "Failed"
    assert "nobody can waive MinimumExamples" in world.status["message"]


@pytest.mark.attack(10)
def test_what_is_decided_on_a_job_never_counts_for_a_release_of_its_name() -> None:
    walk = Walk()
    walk.settle()
    release = walk.release["metadata"]
    as_job = {"kind": "FineTuneJob", "name": release["name"], "uid": release["uid"]}
    walk.decide("ravi", subjectRef=as_job)
    walk.decide("cora", subjectRef=as_job)
    assert walk.settle() == "PendingApproval"
    assert walk.release["status"]["approvals"] == "0/2"
    assert walk.dropped() == {}


def test_what_is_decided_on_a_release_never_counts_for_a_job_of_its_name() -> None:
    world = WaiverWorld().refuse(FEW)
    job = world.observe().job
    world.decide("stella", subjectRef={"kind": "ModelRelease", "name": job.name, "uid": job.uid})
    world.reconcile()
    assert (world.status["waiver"]["approvals"], world.dropped()) == ("0/1", {})


def test_the_release_statement_holds_the_waiver() -> None:
    world = WaiverWorld().refuse(FEW)
    world.decide("stella")
    world.reconcile()
    walk, plain = Walk(), Walk()
    walk.job["status"]["waiver"] = world.status["waiver"]
    plain.settle()
    walk.settle()
    assert walk.stored is not None
    assert plain.stored is not None
    part = walk.stored.statement.job.waiver
    assert part is not None
    assert part.digest == world.status["waiver"]["digest"]
    assert [(one.username, one.role) for one in part.approvals] == [("stella", "steward")]
    assert plain.stored.statement.job.waiver is None

    walk.job["status"]["waiver"] = {**world.status["waiver"], "counted": []}
    walk.step()
    assert walk.condition("Tampered").status == "True"


def test_tuning_for_knowledge_is_a_finding_that_says_what_to_build() -> None:
    found = check_intent(Intent(problem="Knowledge", task_type="Format"))
    assert [(one.check, one.action) for one in found] == [("Knowledge", "Block")]
    assert "Build retrieval" in found[0].message
    assert "baseline.documents" in found[0].message
    assert "the arm BaseRetrieval" in found[0].message
    assert check_intent(Intent(task_type="Format")) == []
