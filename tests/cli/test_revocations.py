"""Which decision revoked a release, where several people revoked it."""

from __future__ import annotations

from tests.support.builders import make_approval
from tunegate.api.approval import Approval
from tunegate.cli.describe.who import last_revocation


def decision(name: str, uid: str, minute: int, decided: str = "Revoke") -> Approval:
    subject = {"kind": "ModelRelease", "name": "release", "uid": uid}
    made = make_approval(name, decision=decided, subjectRef=subject, reason="wrong totals since Monday, by all of us")
    made["metadata"]["creationTimestamp"] = f"2026-11-26T15:{minute:02}:00Z"
    return Approval.model_validate(made)


def test_of_one_release_the_first_revoke_counts_and_of_several_the_release_that_was_revoked_last() -> None:
    decisions = [
        decision("later", "old", 5),
        decision("first", "old", 1),
        decision("approved", "new", 2, "Approve"),
        decision("newest", "new", 3),
        decision("agreed", "new", 4),
        decision("elsewhere", "other", 9),
    ]

    def name_of(*revoked: str) -> str | None:
        found = last_revocation(decisions, revoked)
        return found.name if found else None

    assert name_of("old") == "first"
    assert name_of("old", "new") == "newest"
    assert name_of("none") is None
