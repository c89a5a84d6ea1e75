"""Whose overrides count: as approvals do, but for a role of their own, and by people who may break the glass."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.governance.test_break_glass import GLASS, glazed, override
from tests.support import release_evidence
from tests.support.approvers import signed, signer
from tests.support.ledgers import new_key
from tests.support.release_walk import Walk
from tunegate.admission.rules import Window


@pytest.fixture
def walk() -> Walk:
    return glazed()


@pytest.mark.attack(42)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"approver": {"username": "erin", "groups": ["duty"]}}, "IsRequester"),
        ({"approver": {"username": "dora", "groups": ["model-risk"]}}, "NotInRoleGroup"),
        ({"role": "risk"}, "UnknownRole"),
        ({"subjectDigest": release_evidence.digest("7")}, "WrongDigest"),
        ({"expirationTime": "2026-11-24T12:30:00Z"}, "Expired"),
    ],
)
def test_overrides_that_do_not_count_are_told_with_their_reason(walk: Walk, changes: Any, reason: str) -> None:
    override(walk, **changes)
    assert walk.settle() == "PendingApproval"
    assert list(walk.dropped().values()) == [reason]
    assert f"({reason})" in walk.release["status"]["message"]
    assert "BreakGlassGranted" not in walk.types


@pytest.mark.attack(42)
def test_without_the_verb_or_without_admission_rules_an_override_is_worth_nothing(walk: Walk) -> None:
    walk.unauthorized = {"dora"}
    override(walk)
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {"dora": "NotAuthorized"}
    override(walk, "dirk")
    walk.windows = (Window(walk.now - timedelta(minutes=1), walk.now + timedelta(minutes=1)),)
    assert walk.settle() == "PendingApproval"
    assert walk.dropped()["dirk"] == "RulesNotInForce"


@pytest.mark.attack(42)
def test_a_policy_without_break_glass_lets_nobody_override() -> None:
    walk = Walk()
    walk.settle()
    walk.world["ApprovalPolicy"]["spec"]["breakGlass"] = GLASS
    override(walk)
    assert walk.settle() == "PendingApproval", "the policy that was frozen counts, not the one of today"
    assert walk.dropped() == {"dora": "UnknownRole"}


@pytest.mark.attack(38, 42)
def test_an_override_is_signed_as_the_break_glass_asks_even_if_a_role_has_its_name() -> None:
    key = new_key()
    walk = glazed(role="risk", signers=[signer("dora", key.public)])
    override(walk, role="risk")
    assert walk.settle() == "PendingApproval"
    assert walk.dropped() == {"dora": "NotSigned"}
    override(walk, role="risk")
    walk.approvals[-1] = signed(walk.approvals[-1], key)
    assert walk.settle() == "Overridden"


def test_where_two_have_to_override_one_is_not_enough() -> None:
    walk = glazed(minApprovals=2)
    override(walk)
    override(walk, "dora", expirationTime="2026-11-24T15:00:00Z")
    assert walk.settle() == "PendingApproval"
    assert walk.release["status"]["override"] == {
        "overrides": "1/2", "counted": [
            {"name": "dora-overrides", "username": "dora", "role": "break-glass", "time": "2026-11-24T12:30:00Z"}
        ],
    }  # fmt: skip
    assert "Overrides: 1 of 2" in walk.release["status"]["message"]
    dirk = {"username": "dirk", "groups": ["duty"], "personId": "E-4"}
    override(walk, "dirk", expirationTime="2026-11-24T14:00:00Z", approver=dirk)
    assert walk.settle() == "Overridden"
    assert walk.release["status"]["override"] == {
        "overrides": "2/2",
        "counted": [
            {"name": "dora-overrides", "username": "dora", "role": "break-glass", "time": "2026-11-24T12:30:00Z"},
            {
                "name": "dirk-overrides", "username": "dirk", "personId": "E-4", "role": "break-glass",
                "time": "2026-11-24T12:30:00Z",
            },
        ],
        "grantedTime": "2026-11-24T12:30:00Z",
        "expirationTime": "2026-11-24T14:00:00Z",
    }, "the first to end ends it"  # fmt: skip


@pytest.mark.parametrize("who", ["dora", "dirk"])
def test_any_one_of_those_who_overrode_takes_it_back(who: str) -> None:
    walk = glazed(minApprovals=2)
    override(walk)
    override(walk, "dirk")
    assert walk.settle() == "Overridden"
    override(walk, who, decision="Withdraw")
    assert walk.settle() == "PendingApproval"
    assert walk.records[-1].payload == {"outcome": "Withdrawn"}


def test_where_nobody_overrides_nothing_is_said_of_it(walk: Walk) -> None:
    assert walk.release["status"]["message"].endswith("tunegate approve release/release -n team")
    assert "override" not in walk.release["status"]
