"""What a release and the decisions on it say by themselves: enough to stop it, and never enough to let it be served."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.release_walk import NOW, Walk
from tunegate.api.approval import Approval
from tunegate.api.modelrelease import ModelRelease
from tunegate.reconcile.modelrelease import planner
from tunegate.reconcile.stops import Stop, stop_of


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
    rejected = Stop("Denied", planner.ReleaseReason.REJECTED, "rejected")
    assert planner.plan_stop(ModelRelease.model_validate(served.release), rejected, NOW) is None
