"""What a release and the decisions on it say by themselves: enough to stop it, and never enough to let it be served."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.release_walk import NOW, Walk
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalRole
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.reasons import ReleaseReason
from tunegate.reconcile.approvals import complete
from tunegate.reconcile.modelrelease import planner
from tunegate.reconcile.stops import Stop, stop_of, with_stop


def stop(walk: Walk) -> Stop | None:
    release = ModelRelease.model_validate(walk.release)
    approvals = [Approval.model_validate(one) for one in walk.approvals]
    policy = walk.live().policy
    assert policy is not None
    return stop_of(release, approvals, policy.spec.roles, walk.now)


@pytest.fixture
def served() -> Walk:
    walk = Walk()
    walk.approve()
    walk.serve()
    assert walk.settle() == "Serving"
    assert stop(walk) is None
    return walk


@pytest.mark.parametrize(
    ("decision", "phase"), [("Revoke", "Revoked"), ("Reject", "Denied"), ("Withdraw", "PendingApproval")]
)
def test_a_decision_stops_without_the_ledger_and_the_count_comes_to_the_same(
    served: Walk, decision: str, phase: str
) -> None:
    served.decide("ravi", "stop", decision=decision, reason="It answers with licence texts.")
    found = stop(served)
    assert found is not None
    plan = planner.plan_stop(ModelRelease.model_validate(served.release), found, NOW)
    assert plan is not None
    assert (plan.audit, plan.closes, plan.deletes) == ((), (), ())
    assert plan.status is not None
    assert plan.status["phase"] == phase
    conditions = {one["type"]: one["status"] for one in plan.status["conditions"]}
    assert (conditions["Ready"], conditions["Approved"]) == ("False", "False")
    assert plan.status["servedName"] == served.release["status"]["servedName"]
    served.release["status"] = dict(plan.status)
    assert served.settle() == phase
    assert planner.plan_stop(ModelRelease.model_validate(served.release), stop(served), NOW) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"who": "erin", "decision": "Reject", "role": "nobody"},
        {
            "who": "ravi",
            "decision": "Revoke",
            "subjectRef": {"kind": "ModelRelease", "name": "release", "uid": "other"},
        },
        {"who": "ravi", "decision": "Approve"},
    ],
    ids=["a role that the policy lacks", "another release of the name", "no stop at all"],
)
def test_what_stops_nothing(served: Walk, changes: dict[str, Any]) -> None:
    served.decide(changes.pop("who"), "more", reason="It was looked at again.", **changes)
    assert stop(served) is None


def test_a_withdrawal_by_somebody_whose_approval_was_not_counted_closes_nothing(served: Walk) -> None:
    served.release["status"]["counted"] = [
        one for one in served.release["status"]["counted"] if one["username"] != "ravi"
    ]
    served.decide("ravi", "more", decision="Withdraw", reason="It was looked at again.")
    assert stop(served) is None


def test_a_stop_is_never_turned_into_a_weaker_one(served: Walk) -> None:
    served.decide("ravi", "stop", decision="Revoke", reason="It answers with licence texts.")
    assert served.settle() == "Revoked"
    rejected = Stop("Denied", ReleaseReason.REJECTED, "rejected")
    assert planner.plan_stop(ModelRelease.model_validate(served.release), rejected, NOW) is None


def test_while_an_approval_cannot_be_read_the_others_make_no_quorum() -> None:
    walk = Walk()
    walk.settle()
    walk.decide("ravi")
    walk.decide("cora")
    seen = walk.observe()
    assert seen.verdict.outcome == "Quorum"
    unreadable = ("of-a-newer-version",)
    held = planner.plan(replace(seen, verdict=complete(seen.verdict, unreadable), unreadable=unreadable), NOW)
    assert "ReleaseApproved" not in [entry.type for entry in held.audit]
    assert held.status is not None
    assert held.status["phase"] == "PendingApproval"
    assert "of-a-newer-version" in held.status["message"]
    assert "Upgrade the operator" in held.status["message"]


def test_what_is_served_goes_on_while_an_approval_cannot_be_read_and_nothing_new_is_rolled_out(served: Walk) -> None:
    seen = served.observe()
    unreadable = ("of-a-newer-version",)
    kept = planner.plan(replace(seen, verdict=complete(seen.verdict, unreadable), unreadable=unreadable), NOW)
    assert kept.status is not None
    assert kept.status["phase"] == "Serving"
    lost = next(one for one in kept.status["conditions"] if one["type"] == "QuorumLost")
    assert lost["status"] == "True"
    assert "of-a-newer-version" in lost["message"]


def test_a_stop_counts_while_another_approval_cannot_be_read(served: Walk) -> None:
    served.decide("ravi", "stop", decision="Revoke", reason="It answers with licence texts.")
    seen = served.observe()
    assert complete(seen.verdict, ("of-a-newer-version",)).outcome == "Revoked"


def test_a_reject_by_a_role_of_the_policy_in_force_counts_where_the_statement_lacks_it(served: Walk) -> None:
    served.decide("ravi", "stop", decision="Reject", role="security", reason="It answers with licence texts.")
    served.approvals[-1]["spec"]["approver"]["groups"] = ["security"]
    seen = served.observe()
    assert seen.verdict.outcome == "Quorum"
    roles = [ApprovalRole(name="security", groups=["security"])]
    found = stop_of(seen.release, seen.approvals, roles, NOW)
    cast = [one.vote for one in seen.verdict.dropped]
    verdict = with_stop(seen.verdict, found, cast)
    assert (verdict.outcome, [one.name for one in verdict.stops]) == ("Rejected", ["stop"])
    plan = planner.plan(replace(seen, verdict=verdict), NOW)
    assert plan.status is not None
    assert plan.status["phase"] == "Denied"
