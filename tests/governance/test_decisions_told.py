"""What a decision leaves behind: its record in the ledger, its line in the status, and words for reviewers."""

from __future__ import annotations

from typing import Any

from tests.support.release_walk import Walk
from tunegate.api.approval import Approval
from tunegate.release.content import approval_digest

Json = dict[str, Any]


def known(who: str, group: str) -> Json:
    """Return an approver of whom the identity provider says something."""
    return {"username": who, "groups": [group], "personId": f"E-{who}", "authTime": "2026-11-24T11:59:00Z"}


def decided() -> Walk:
    """Two people approve; the older decision was listed last."""
    walk = Walk()
    walk.settle()
    walk.decide("cora", approver=known("cora", "compliance"))
    walk.decide("ravi", approver=known("ravi", "model-risk"))
    walk.approvals[0]["metadata"]["creationTimestamp"] = "2026-11-24T12:10:00Z"
    return walk


def test_the_ledger_holds_each_decision_word_by_word_oldest_first() -> None:
    walk = decided()
    walk.settle()
    records = [one for one in walk.records if one.type == "ApprovalRecorded"]
    assert [one.actor for one in records] == ["ravi", "cora"]
    ravi = walk.approvals[1]
    assert records[0].payload == {
        "approval": ravi["metadata"]["uid"],
        "name": "ravi-approves",
        "decision": "Approve",
        "role": "risk",
        "subjectDigest": walk.release["status"]["releaseDigest"],
        "expirationTime": "2030-01-01T00:00:00Z",
        "creationTime": "2026-11-24T12:00:00Z",
        "content": approval_digest(Approval.model_validate(ravi)),
        "personId": "E-ravi",
        "authTime": "2026-11-24T11:59:00Z",
    }


def test_the_ledger_says_who_was_counted_for_what_and_which_decision_stopped() -> None:
    walk = decided()
    assert walk.settle() == "Approved"
    assert walk.records[-1].payload == {
        "releaseDigest": walk.release["status"]["releaseDigest"],
        "approvals": ",".join(sorted(one["metadata"]["uid"] for one in walk.approvals)),
        "approvers": "ravi (risk), cora (compliance)",
    }
    walk.decide("rita", "stop", decision="Revoke", reason="answers leak names")
    assert walk.settle() == "Revoked"
    revoked = next(one for one in walk.records if one.type == "ReleaseRevoked")
    assert (revoked.actor, revoked.payload) == (
        "rita", {"approval": walk.approvals[-1]["metadata"]["uid"], "name": "stop", "role": "risk"},
    )  # fmt: skip


def test_the_status_names_the_human_behind_each_account() -> None:
    walk = decided()
    walk.decide("rita", approver=known("rita", "model-risk"))
    walk.approvals[-1]["metadata"]["creationTimestamp"] = "2026-11-24T12:20:00Z"
    walk.decide("nora", approver={"username": "nora", "groups": ["model-risk"]})
    walk.approvals[-1]["metadata"]["creationTimestamp"] = "2026-11-24T12:21:00Z"
    walk.settle()
    status = walk.release["status"]
    assert [(one["username"], one["personId"]) for one in status["counted"]] == [("ravi", "E-ravi"), ("cora", "E-cora")]
    assert [(one["username"], one.get("personId")) for one in status["dropped"]] == [("rita", "E-rita"), ("nora", None)]


def test_the_message_says_whom_it_waits_for_what_to_run_and_what_did_not_count() -> None:
    walk = Walk()
    walk.settle()
    assert walk.release["status"]["message"] == (
        "waiting for approvals: 1 of role risk, 1 of role compliance. A reviewer runs: tunegate approve release/release -n team"
    )
    walk.decide("erin")
    walk.decide("rita", approver={"username": "rita", "groups": ["nobody"]})
    walk.settle()
    assert walk.release["status"]["message"] == (
        "waiting for approvals: 1 of role risk, 1 of role compliance. A reviewer runs: tunegate approve release/release -n team. "
        "Not counted: erin-approves (IsRequester), rita-approves (NotInRoleGroup)"
    )
