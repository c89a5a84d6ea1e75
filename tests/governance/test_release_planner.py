"""The release's way, planned step by step: the world is data, every plan is carried out at once, nothing is mocked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.governance import evidence
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.basemodel import BaseModel
from tunegate.api.conditions import Condition, find
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.reasons import ReleaseReason
from tunegate.api.stages import EvaluateResult
from tunegate.ledger import chain
from tunegate.reconcile import modelrelease_votes
from tunegate.reconcile.modelrelease import Observed, plan
from tunegate.reconcile.modelrelease_entries import Frozen, last
from tunegate.reconcile.plan import Plan
from tunegate.release.counting import count
from tunegate.release.evidence import Shortfall, assess
from tunegate.release.statement import Evidence, Policy, build, differences

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
Json = dict[str, Any]


class Walk:
    """A release and its world; ``step`` does what a controller and a worker would do once."""

    def __init__(self) -> None:
        self.world = evidence.catalogue()
        self.job = evidence.finished_job(self.world, evidence.digest("f"))
        self.release = evidence.with_metadata(evidence.release_of(self.job))
        self.result = evidence.evaluation(self.world)
        self.approvals: list[Json] = []
        self.unauthorized: set[str] = set()
        self.records: list[AuditRecordSpec] = []
        self.stored: Frozen | None = None
        self.ledger_works = True
        self.now = NOW

    def live(self) -> Evidence:
        policy = ApprovalPolicy.model_validate(evidence.with_metadata(self.world["ApprovalPolicy"], uid="policy-uid"))
        return Evidence(
            cluster="cluster-1",
            release=ModelRelease.model_validate(self.release),
            job=FineTuneJob.model_validate(self.job) if self.job else None,
            server=ModelServer.model_validate(self.world["ModelServer"]),
            base=BaseModel.model_validate(self.world["BaseModel"]),
            suite=EvaluationSuite.model_validate(self.world["EvaluationSuite"]),
            policy=Policy(policy.name, policy.uid, policy.spec),
            evaluation=EvaluateResult.model_validate(self.result),
        )

    def observe(self) -> Observed:
        live = self.live()
        shortfall = None
        requested = last(self.records, "ReleaseRequested") is not None
        if not requested:
            found = assess(live)
            if isinstance(found, Shortfall):
                shortfall = found
            else:
                statement = build(found)
                self.stored = Frozen(statement, statement.digest, "team/release/statement", evidence.digest("9"))
        frozen = None if shortfall else self.stored
        approvals = tuple(Approval.model_validate(one) for one in self.approvals)
        question = modelrelease_votes.question(live.release, frozen if requested else None, None)
        backed = frozenset(one.uid for one in approvals if one.spec.approver.username not in self.unauthorized)
        return Observed(
            release=live.release,
            approvals=approvals,
            verdict=count(question, modelrelease_votes.votes(approvals, backed), self.now),
            records=tuple(self.records),
            frozen=frozen,
            shortfall=shortfall,
            changed=differences(frozen.statement, live) if frozen else (),
            server=live.server,
        )

    def step(self) -> Plan:
        made = plan(self.observe(), self.now)
        if made.audit and not self.ledger_works:
            return made
        for entry in made.audit:
            assert entry.event_id not in {record.event_id for record in self.records}
            self.records.append(chain.next_record(entry, self.records[-1] if self.records else None, self.now))
        self.release["status"] = dict(made.status or {})
        return made

    def settle(self) -> str:
        """Step until nothing more is planned; return the phase."""
        for _ in range(10):
            made = self.step()
            if not made.audit and made.requeue_after not in (0.1,):
                return self.phase
        raise AssertionError(f"does not settle: {made}")

    def decide(self, who: str, name: str = "", **changes: Any) -> None:
        self.approvals.append(evidence.with_metadata(evidence.decision(self.release, who, name, **changes)))

    def approve(self) -> None:
        self.settle()
        self.decide("ravi")
        self.decide("cora")
        assert self.settle() == "Approved"

    def serve(self, state: str = "Ready", route: str | None = "extractor") -> None:
        served = self.release["status"]["servedName"]
        adapter = {
            "release": "release",
            "servedName": served,
            "adapterDigest": evidence.digest("a"),
            "state": state,
            "reason": "bad bytes",
        }
        routes = [{"name": route, "state": "Open", "servedName": served}] if route else []
        self.world["ModelServer"]["status"] = {"adapters": [adapter], "routes": routes}

    @property
    def phase(self) -> str:
        return str(self.release["status"]["phase"])

    @property
    def types(self) -> list[str]:
        return [record.type for record in self.records]

    def condition(self, type_: str) -> Condition:
        found = find(ModelRelease.model_validate(self.release).status.conditions, type_)
        assert found is not None, self.release["status"]
        return found

    def dropped(self) -> dict[str, str]:
        return {one["username"]: one["reason"] for one in self.release["status"].get("dropped", [])}


@pytest.fixture
def walk() -> Walk:
    return Walk()


def test_way_from_evidence_to_serving(walk: Walk) -> None:
    assert walk.settle() == "PendingApproval"
    assert walk.release["status"]["approvals"] == "0/2"
    assert walk.release["status"]["servedName"] == "release-aaaaaaaa"
    walk.decide("ravi")
    assert walk.settle() == "PendingApproval"
    assert walk.release["status"]["approvals"] == "1/2"
    assert walk.release["status"]["missing"] == [{"role": "compliance", "missing": 1}]
    walk.decide("cora")
    assert walk.settle() == "Approved"
    walk.serve("Loading", None)
    assert walk.settle() == "RollingOut"
    walk.serve()
    assert walk.settle() == "Serving"
    assert walk.condition("Served").reason == ReleaseReason.ROUTE_OPEN
    assert walk.types == ["ReleaseRequested", "ApprovalRecorded", "ApprovalRecorded", "ReleaseApproved"]


def test_serving_release_needs_no_more_writes(walk: Walk) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    before = dict(walk.release["status"])
    made = walk.step()
    assert made.audit == ()
    assert made.events == ()
    assert walk.release["status"] == before


def test_nothing_is_approved_while_the_ledger_is_down(walk: Walk) -> None:
    walk.settle()
    walk.decide("ravi")
    walk.decide("cora")
    walk.ledger_works = False
    for _ in range(3):
        walk.step()
    assert walk.phase == "PendingApproval"
    walk.ledger_works = True
    assert walk.settle() == "Approved"


@pytest.mark.parametrize(("decision", "phase"), [("Revoke", "Revoked"), ("Reject", "Denied")])
def test_stop_acts_at_once_without_the_ledger_and_is_recorded_afterwards(walk: Walk, decision: str, phase: str) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    walk.ledger_works = False
    walk.decide("ravi", "stop", decision=decision, reason="wrong answers in production")
    walk.step()
    assert walk.phase == phase
    walk.ledger_works = True
    walk.settle()
    assert walk.types[-2:] == ["ApprovalRecorded", f"Release{phase}"]
    assert walk.phase == phase


def test_stop_stays_even_if_its_approval_object_vanishes(walk: Walk) -> None:
    walk.approve()
    walk.decide("ravi", "stop", decision="Revoke", reason="wrong answers in production")
    walk.settle()
    walk.approvals.pop()
    assert walk.settle() == "Revoked"


def test_release_is_revoked_before_there_is_evidence(walk: Walk) -> None:
    walk.job["status"]["phase"] = "Training"
    assert walk.settle() == "PendingEvidence"
    walk.decide("sven", "stop", decision="Revoke", role="serving-operator", reason="asked for by mistake")
    assert walk.settle() == "Revoked"


def test_withdrawn_approval_takes_a_serving_release_down(walk: Walk) -> None:
    walk.approve()
    walk.serve()
    assert walk.settle() == "Serving"
    walk.ledger_works = False
    walk.decide("cora", "back", decision="Withdraw", reason="the report was wrong")
    walk.step()
    assert walk.phase == "PendingApproval"
    assert walk.dropped() == {"cora": "Withdrawn"}
    assert walk.release["status"]["approvedTime"]


def test_expired_approvals_keep_what_runs_and_say_so(walk: Walk) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    walk.now = NOW + timedelta(days=8)
    assert walk.settle() == "Serving"
    assert walk.condition("Expired").status == "True"
    walk.decide("ravi", "again", expiresAt="2027-01-01T00:00:00Z")
    walk.decide("cora", "again-too", expiresAt="2027-01-01T00:00:00Z")
    for approval in walk.approvals[2:]:
        approval["metadata"]["creationTimestamp"] = "2026-12-02T12:00:00Z"
    assert walk.settle() == "Serving"
    assert walk.condition("Expired").status == "False"
    assert walk.types.count("ReleaseApproved") == 2


def test_expired_approvals_approve_nothing(walk: Walk) -> None:
    walk.settle()
    walk.decide("ravi", expiresAt="2026-11-24T12:10:00Z")
    walk.decide("cora")
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {"ravi": "Expired"}


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-10:00", "2026-12-31T23:59:60Z"])
def test_unreadable_expiry_does_not_stop_the_count(walk: Walk, time: str) -> None:
    walk.settle()
    walk.decide("ravi", expiresAt=time)
    walk.decide("cora", expiresAt="2026-12-01t00:00:00z")
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {"ravi": "Expired"}
    assert walk.release["status"]["approvals"] == "1/2"


def test_planner_wakes_up_when_an_approval_expires(walk: Walk) -> None:
    walk.settle()
    walk.decide("ravi", expiresAt="2026-11-24T12:31:00Z")
    walk.settle()
    assert walk.step().requeue_after == pytest.approx(61.0)


def test_approval_by_the_requester_and_for_another_digest_do_not_count(walk: Walk) -> None:
    walk.settle()
    walk.decide("erin")
    walk.decide("cora", subjectDigest=evidence.digest("7"))
    walk.decide("ravi")
    walk.unauthorized = {"ravi"}
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {"erin": "IsRequester", "cora": "WrongDigest", "ravi": "NotAuthorized"}
    assert walk.release["status"]["approvals"] == "0/2"


def test_policy_loosened_later_helps_no_open_release(walk: Walk) -> None:
    walk.settle()
    walk.world["ApprovalPolicy"]["spec"]["roles"] = [{"name": "risk", "groups": ["model-risk"]}]
    walk.decide("ravi")
    assert walk.settle() == "PendingApproval"
    assert walk.condition("Tampered").status == "False"


def test_base_model_swapped_before_the_quorum_stops_the_release(walk: Walk) -> None:
    walk.settle()
    walk.world["BaseModel"]["status"]["manifestDigest"] = evidence.digest("8")
    walk.decide("ravi")
    walk.decide("cora")
    assert walk.settle() == "Failed"
    assert walk.condition("Tampered").reason == ReleaseReason.DIGEST_MISMATCH
    assert "base model" in walk.release["status"]["message"]
    assert "ReleaseApproved" not in walk.types


def test_swapped_base_model_keeps_what_runs_but_rolls_out_nothing(walk: Walk) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    walk.world["BaseModel"]["status"]["manifestDigest"] = evidence.digest("8")
    assert walk.settle() == "Serving"
    assert walk.condition("Tampered").status == "True"
    del walk.world["ModelServer"]["status"]
    assert walk.settle() == "Failed"


def test_vanished_approval_is_noticed(walk: Walk) -> None:
    walk.approve()
    walk.approvals.pop()
    walk.settle()
    assert walk.condition("Tampered").reason == ReleaseReason.RECORD_MISSING


def test_edited_approval_is_noticed(walk: Walk) -> None:
    walk.approve()
    walk.approvals[0]["spec"]["role"] = "compliance"
    walk.settle()
    assert walk.condition("Tampered").reason == ReleaseReason.RECORD_MISSING


def test_deleted_job_takes_nothing_back(walk: Walk) -> None:
    walk.approve()
    walk.serve()
    walk.job = {}
    assert walk.settle() == "Serving"
    assert walk.condition("Tampered").status == "False"


def test_status_lost_in_a_restore_is_rebuilt_from_the_ledger(walk: Walk) -> None:
    walk.approve()
    before = {key: value for key, value in walk.release["status"].items() if key != "conditions"}
    del walk.release["status"]
    walk.settle()
    assert {key: value for key, value in walk.release["status"].items() if key != "conditions"} == before


def test_status_forged_to_approved_is_put_right(walk: Walk) -> None:
    walk.settle()
    walk.release["status"]["phase"] = "Approved"
    walk.release["status"]["approvedTime"] = "2026-11-24T12:00:00Z"
    assert walk.settle() == "PendingApproval"
    assert "approvedTime" not in walk.release["status"]


def test_server_that_leaves_the_adapter_out_is_named(walk: Walk) -> None:
    walk.approve()
    walk.serve("LeftOut", None)
    assert walk.settle() == "Approved"
    assert walk.condition("Served").reason == ReleaseReason.LEFT_OUT
    assert "bad bytes" in walk.release["status"]["message"]


def test_loaded_adapter_without_a_route_says_which_route_to_add(walk: Walk) -> None:
    walk.approve()
    walk.serve("Ready", None)
    assert walk.settle() == "Approved"
    assert walk.condition("Served").reason == ReleaseReason.NO_ROUTE


def test_route_that_moved_on_supersedes(walk: Walk) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    walk.world["ModelServer"]["status"]["routes"][0]["servedName"] = "newer-12345678"
    assert walk.settle() == "Approved"
    assert walk.condition("Superseded").status == "True"


def failing(walk: Walk) -> tuple[str, str]:
    phase = walk.settle()
    assert walk.records == []
    return phase, walk.condition("EvidenceComplete").reason


def test_job_without_a_passed_gate_is_not_released(walk: Walk) -> None:
    walk.job["status"]["phase"] = "Failed"
    walk.job["status"]["gate"]["outcome"] = "Inconclusive"
    assert failing(walk) == ("Failed", "JobNotPassed")


def test_job_made_again_under_the_name_is_another_job(walk: Walk) -> None:
    walk.job["metadata"]["uid"] = "another"
    assert failing(walk) == ("Failed", "JobNotPassed")


def test_unfinished_job_is_waited_for(walk: Walk) -> None:
    walk.job["status"]["phase"] = "Training"
    assert failing(walk) == ("PendingEvidence", "WaitingForJob")


def test_evaluation_of_another_adapter_is_no_evidence(walk: Walk) -> None:
    walk.result["adapterManifestDigest"] = evidence.digest("1")
    assert failing(walk) == ("Failed", "EvidenceDiffers")


def test_evaluation_in_another_profile_is_no_evidence(walk: Walk) -> None:
    walk.world["ModelServer"]["spec"]["profile"]["maxLoraRank"] = 64
    assert failing(walk) == ("Failed", "EvidenceDiffers")


def test_suite_that_the_policy_does_not_name_is_not_accepted(walk: Walk) -> None:
    walk.world["ApprovalPolicy"]["spec"]["requiredSuites"] = ["another"]
    assert failing(walk) == ("Failed", "SuiteNotAccepted")


def test_margin_below_the_policys_is_not_accepted(walk: Walk) -> None:
    walk.world["ApprovalPolicy"]["spec"]["minMargin"] = "0.1"
    assert failing(walk) == ("Failed", "SuiteNotAccepted")


def test_data_that_the_policy_does_not_allow_is_not_released(walk: Walk) -> None:
    walk.world["ApprovalPolicy"]["spec"]["allowedData"] = ["Internal"]
    assert failing(walk) == ("Failed", "DataNotAllowed")


def test_unready_base_model_is_waited_for(walk: Walk) -> None:
    walk.world["BaseModel"]["status"]["phase"] = "Hashing"
    assert failing(walk) == ("PendingEvidence", "WaitingForCatalogue")


@pytest.mark.parametrize("reason", [ReleaseReason.WAITING_FOR_REGISTRY, ReleaseReason.DIGEST_MISMATCH])
def test_unreadable_statement_keeps_what_runs(walk: Walk, reason: ReleaseReason) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    seen = replace(walk.observe(), frozen=None, shortfall=Shortfall(reason, "the registry says no"), changed=())
    made = plan(seen, walk.now)
    assert made.status is not None
    assert made.status["phase"] == "Serving"
    assert made.audit == ()


def test_release_digest_depends_on_everything_that_matters(walk: Walk) -> None:
    def digest_of(change: Any) -> str:
        other = Walk()
        other.job["metadata"]["uid"] = walk.job["metadata"]["uid"]
        other.release = evidence.with_metadata(evidence.release_of(other.job), uid=walk.release["metadata"]["uid"])
        change(other)
        other.observe()
        assert other.stored is not None
        return other.stored.digest

    def bump(attribute: str, *path: str, value: Any) -> Any:
        def change(other: Walk) -> None:
            target = getattr(other, attribute)
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = value

        return change

    changes = [
        lambda other: None,
        bump("release", "metadata", "uid", value="other"),
        bump("release", "spec", "intendedUse", value="Something else entirely, and not this."),
        bump("release", "spec", "risk", value="High"),
        bump("release", "spec", "modelName", value="other"),
        bump("job", "spec", "dataset", "source", value="elsewhere"),
        bump("job", "status", "dataset", "digest", value=evidence.digest("1")),
        bump("job", "status", "adapter", "digest", value=evidence.digest("1")),
        bump("job", "spec", "requestedBy", value={"username": "somebody"}),
        bump("world", "BaseModel", "spec", "license", value="other"),
        bump("world", "ApprovalPolicy", "spec", "maxApprovalAgeSeconds", value=61),
        bump("world", "EvaluationSuite", "status", "attempts", value=40),
        bump("result", "tuned", value={"ExactMatch": 0.9}),
    ]
    digests = [digest_of(change) for change in changes]
    assert len(set(digests)) == len(changes)
    assert digest_of(lambda other: None) == digests[0]
