"""The release's way, planned step by step: approvals, expiry, stops and serving."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support import release_evidence
from tests.support.release_walk import Walk
from tunegate.admission.rules import Window
from tunegate.api.reasons import ReleaseReason


@pytest.fixture
def walk() -> Walk:
    return Walk()


def test_way_from_evidence_to_serving(walk: Walk) -> None:
    assert walk.settle() == "PendingApproval"
    assert (walk.condition("Ready").status, walk.condition("Ready").reason) == ("False", "WaitingForApprovals")
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
    assert walk.condition("Ready").status == "True"
    assert walk.condition("Ready").reason == ReleaseReason.ROUTE_OPEN
    assert walk.types == ["ReleaseRequested", "ApprovalRecorded", "ApprovalRecorded", "ReleaseApproved"]


@pytest.mark.attack(31)
@pytest.mark.parametrize("kind", ["job", "release"])
def test_what_was_asked_for_without_admission_rules_is_not_approved(walk: Walk, kind: str) -> None:
    walk.settle()
    made = datetime.fromisoformat(getattr(walk, kind)["metadata"]["creationTimestamp"])
    other = walk.release if kind == "job" else walk.job
    other["metadata"]["creationTimestamp"] = "2026-11-24T11:00:00Z"
    walk.windows = (Window(made - timedelta(seconds=9), made),)
    walk.decide("ravi")
    walk.decide("cora")
    assert walk.settle() == "Failed"
    assert walk.condition("Tampered").reason == ReleaseReason.RULES_NOT_IN_FORCE
    assert f"the {kind} was made while" in walk.release["status"]["message"]
    assert "ReleaseApproved" not in walk.types


@pytest.mark.attack(31)
def test_approval_made_without_admission_rules_has_to_be_given_again(walk: Walk) -> None:
    walk.settle()
    walk.decide("ravi")
    made = walk.approvals[0]["metadata"]
    made["creationTimestamp"] = "2026-11-24T12:10:00Z"
    walk.windows = (Window(walk.now - timedelta(minutes=25), walk.now - timedelta(minutes=15)),)
    walk.decide("cora")
    assert walk.settle() == "PendingApproval"
    assert [one["reason"] for one in walk.release["status"]["dropped"]] == ["RulesNotInForce"]
    walk.decide("ravi", "again")
    walk.approvals[-1]["metadata"]["creationTimestamp"] = "2026-11-24T12:20:00Z"
    assert walk.settle() == "Approved"


@pytest.mark.attack(4, 7)
def test_identity_that_the_policy_asks_for_is_frozen_with_it(walk: Walk) -> None:
    rule = {"requirePersonId": True, "maxAuthAgeSeconds": 3600}
    walk.world["ApprovalPolicy"]["spec"]["identity"] = rule
    for one in (walk.job, walk.release):
        one["spec"]["requestedBy"] = {"username": "erin", "personId": "E-1"}
    walk.settle()
    walk.world["ApprovalPolicy"]["spec"]["identity"] = {}

    def known(who: str, group: str, human: str, since: str = "2026-11-24T11:30:00Z") -> dict[str, Any]:
        return {"approver": {"username": who, "groups": [group], "personId": human, "authTime": since}}

    walk.decide("ravi", **known("ravi", "model-risk", "E-2"))
    walk.decide("cora", "other-account", **known("cora", "compliance", "E-2"))
    walk.decide("erin", "hers", **known("erin-risk", "model-risk", "E-1"))
    walk.decide("carl", **known("carl", "model-risk", "E-3", since="2026-11-24T10:59:59Z"))
    walk.decide("nora")
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {
        "ravi": "SamePerson", "erin-risk": "IsRequester", "carl": "StaleSession", "nora": "NoPersonId",
    }  # fmt: skip
    walk.decide("cora", "herself", **known("clara", "compliance", "E-4"))
    assert walk.settle() == "Approved"
    assert {one["username"]: one["personId"] for one in walk.release["status"]["counted"]} == {
        "ravi": "E-2", "clara": "E-4",
    }  # fmt: skip
    said = [record.payload for record in walk.records if record.type == "ApprovalRecorded"]
    assert [one.get("personId") for one in said if one["name"] == "ravi-approves"] == ["E-2"]
    assert [one.get("authTime") for one in said if one["name"] == "carl-approves"] == ["2026-11-24T10:59:59Z"]
    assert walk.records[0].payload["personId"] == "E-1"


@pytest.mark.parametrize("kind", ["job", "release"])
def test_what_nobody_could_approve_for_want_of_a_person_id_fails_and_says_so(walk: Walk, kind: str) -> None:
    walk.world["ApprovalPolicy"]["spec"]["identity"] = {"requirePersonId": True}
    other = walk.job if kind == "release" else walk.release
    other["spec"]["requestedBy"] = {"username": "erin", "personId": "E-1"}
    assert walk.settle() == "Failed"
    assert "asks which human erin is" in walk.release["status"]["message"]
    assert f"create a new {kind}" in walk.release["status"]["message"]


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


@pytest.mark.attack(26)
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
    assert "The reason: tunegate describe release/" in walk.release["status"]["message"]


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


@pytest.mark.attack(24)
def test_expired_approvals_approve_nothing(walk: Walk) -> None:
    walk.settle()
    walk.decide("ravi", expirationTime="2026-11-24T12:10:00Z")
    walk.decide("cora")
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {"ravi": "Expired"}


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-10:00", "2026-12-31T23:59:60Z"])
def test_unreadable_expiry_does_not_stop_the_count(walk: Walk, time: str) -> None:
    walk.settle()
    walk.decide("ravi", expirationTime=time)
    walk.decide("cora", expirationTime="2026-12-01t00:00:00z")
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {"ravi": "Expired"}
    assert walk.release["status"]["approvals"] == "1/2"


def test_planner_wakes_up_when_an_approval_expires(walk: Walk) -> None:
    walk.settle()
    walk.decide("ravi", expirationTime="2026-11-24T12:31:00Z")
    walk.settle()
    assert walk.step().requeue_after == pytest.approx(61.0)


@pytest.mark.attack(3, 10, 25)
def test_approval_by_the_requester_and_for_another_digest_do_not_count(walk: Walk) -> None:
    walk.settle()
    walk.decide("erin")
    walk.decide("cora", subjectDigest=release_evidence.digest("7"))
    walk.decide("ravi")
    walk.unauthorized = {"ravi"}
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {"erin": "IsRequester", "cora": "WrongDigest", "ravi": "NotAuthorized"}
    assert walk.release["status"]["approvals"] == "0/2"


@pytest.mark.attack(23)
def test_policy_loosened_later_helps_no_open_release(walk: Walk) -> None:
    walk.settle()
    walk.world["ApprovalPolicy"]["spec"]["roles"] = [{"name": "risk", "groups": ["model-risk"]}]
    walk.decide("ravi")
    assert walk.settle() == "PendingApproval"
    assert walk.condition("Tampered").status == "False"


@pytest.mark.attack(14)
def test_base_model_swapped_before_the_quorum_stops_the_release(walk: Walk) -> None:
    walk.settle()
    walk.world["BaseModel"]["status"]["manifestDigest"] = release_evidence.digest("8")
    walk.decide("ravi")
    walk.decide("cora")
    assert walk.settle() == "Failed"
    assert walk.condition("Tampered").reason == ReleaseReason.DIGEST_MISMATCH
    assert "base model" in walk.release["status"]["message"]
    assert "ReleaseApproved" not in walk.types


@pytest.mark.attack(14)
def test_swapped_base_model_keeps_what_runs_but_rolls_out_nothing(walk: Walk) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    walk.world["BaseModel"]["status"]["manifestDigest"] = release_evidence.digest("8")
    assert walk.settle() == "Serving"
    assert walk.condition("Tampered").status == "True"
    del walk.world["ModelServer"]["status"]
    assert walk.settle() == "Failed"


@pytest.mark.attack(17)
def test_vanished_approval_is_noticed(walk: Walk) -> None:
    walk.approve()
    walk.approvals.pop()
    walk.settle()
    assert walk.condition("Tampered").reason == ReleaseReason.RECORD_MISSING


@pytest.mark.attack(8)
def test_edited_approval_is_noticed(walk: Walk) -> None:
    walk.approve()
    walk.approvals[0]["spec"]["role"] = "compliance"
    walk.settle()
    assert walk.condition("Tampered").reason == ReleaseReason.RECORD_MISSING


@pytest.mark.attack(8, 24)
def test_approval_that_was_made_younger_is_noticed(walk: Walk) -> None:
    """As somebody who writes etcd would, to have an expired approval hold longer."""
    walk.approve()
    walk.approvals[0]["metadata"]["creationTimestamp"] = "2026-11-24T12:29:00Z"
    assert walk.settle() == "Failed"
    assert walk.condition("Tampered").reason == ReleaseReason.RECORD_MISSING
    assert "ravi-approves" in walk.condition("Tampered").message


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


@pytest.mark.attack(15)
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
    assert walk.condition("Ready").reason == ReleaseReason.LEFT_OUT
    assert "bad bytes" in walk.release["status"]["message"]


def test_loaded_adapter_without_a_route_says_which_route_to_add(walk: Walk) -> None:
    walk.approve()
    walk.serve("Ready", None)
    assert walk.settle() == "Approved"
    assert walk.condition("Ready").reason == ReleaseReason.NO_ROUTE


def test_route_that_moved_on_supersedes(walk: Walk) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    walk.world["ModelServer"]["status"]["routes"][0]["targets"][0]["servedName"] = "newer-12345678"
    assert walk.settle() == "Approved"
    assert walk.condition("Superseded").status == "True"
