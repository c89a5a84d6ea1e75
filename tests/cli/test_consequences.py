"""What follows from a decision, as the question says it."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.cli.decide.consequences import consequences

Json = dict[str, Any]


def told(kind: str, decision: str, **missing: int) -> dict[str, str]:
    spec = {"decision": decision, "role": "risk", "expirationTime": "2026-12-03T12:00:00Z"}
    return dict(consequences(kind, spec, missing))


@pytest.mark.parametrize(
    ("kind", "decision", "words"),
    [
        ("ModelRelease", "Reject", "denied, for good"),
        ("FineTuneJob", "Reject", "the job ends, for good"),
        ("ModelRelease", "Revoke", "closes within seconds"),
        ("ModelRelease", "Withdraw", "you cannot approve it again"),
        ("FineTuneJob", "Withdraw", "you cannot approve it again"),
    ],
)
def test_what_is_final_says_so_and_names_no_end(kind: str, decision: str, words: str) -> None:
    found = told(kind, decision, risk=1)
    assert set(found) == {"afterwards"}
    assert words in found["afterwards"]


def test_the_approval_that_completes_the_quorum_says_what_happens_at_once() -> None:
    assert told("FineTuneJob", "Approve", risk=1)["at once"].startswith("the quorum is complete: the job goes on")
    assert "it is rolled out" in told("ModelRelease", "Approve", risk=1)["at once"]


def test_an_approval_that_does_not_says_who_is_still_needed() -> None:
    found = told("ModelRelease", "Approve", risk=2, compliance=1)
    assert found["still needed"].startswith("1 of role risk, 1 of role compliance; then it is rolled out")
    assert "only a new rollout needs new approvals" in found["afterwards"]
    assert "rollout" not in told("FineTuneJob", "Approve", risk=2)["afterwards"]


def test_an_override_says_when_it_ends() -> None:
    found = told("ModelRelease", "Override")
    assert found["counts until"] == "2026-12-03T12:00:00Z"
    assert "closed then" in found["afterwards"]


@pytest.mark.parametrize(
    ("missing", "complete", "words"),
    [
        ({}, True, "the quorum is complete already"),
        ({"compliance": 1}, False, "all slots of role risk are filled already"),
    ],
)
def test_an_approval_that_fills_no_slot_promises_nothing(missing: dict[str, int], complete: bool, words: str) -> None:
    spec = {"decision": "Approve", "role": "risk", "expirationTime": "2026-12-03T12:00:00Z"}
    found = dict(consequences("ModelRelease", spec, missing, complete=complete))
    assert set(found) == {"counts until", "at once"}
    assert found["at once"].startswith(f"nothing: {words}")
    assert "rolled out" not in found["at once"]
