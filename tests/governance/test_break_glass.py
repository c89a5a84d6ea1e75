"""Break-glass: a release without its quorum is served for a time, by name, loudly, and not a second longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support import release_evidence
from tests.support.release_walk import Walk
from tunegate.api.approvalpolicy import BreakGlass
from tunegate.api.conditions import rfc3339
from tunegate.api.reasons import ReleaseReason
from tunegate.ledger import chain
from tunegate.reconcile.modelrelease.planner import plan
from tunegate.reconcile.plan import EventNote
from tunegate.release.evidence import Shortfall

GLASS = {"role": "break-glass", "groups": ["duty"], "maxSeconds": 4 * 3600}
HOURS = timedelta(hours=1)


def glazed(**glass: Any) -> Walk:
    """Return a release whose policy has a break-glass, asked for and waiting."""
    walk = Walk()
    walk.world["ApprovalPolicy"]["spec"]["breakGlass"] = {**GLASS, **glass}
    walk.settle()
    return walk


def override(walk: Walk, who: str = "dora", **changes: Any) -> None:
    spec = {
        "decision": "Override", "role": "break-glass", "approver": {"username": who, "groups": ["duty"]},
        "reason": "the model in production leaks names", "expirationTime": "2026-12-24T12:00:00Z", **changes,
    }  # fmt: skip
    walk.decide(who, f"{who}-overrides", **spec)
    walk.approvals[-1]["metadata"]["creationTimestamp"] = rfc3339(walk.now)


@pytest.fixture
def walk() -> Walk:
    return glazed()


@pytest.fixture
def serving(walk: Walk) -> Walk:
    override(walk)
    walk.settle()
    walk.serve()
    assert walk.settle() == "Overridden"
    assert walk.condition("Ready").status == "True"
    return walk


@pytest.mark.attack(25, 42)
def test_an_override_by_somebody_who_lost_the_role_rolls_out_nothing_new(serving: Walk) -> None:
    serving.unauthorized = {"dora"}
    assert serving.settle() == "Overridden"
    assert serving.condition("Ready").status == "True"
    assert serving.condition("QuorumLost").reason == ReleaseReason.APPROVER_NOT_AUTHORIZED


def test_an_override_serves_a_release_without_its_quorum_and_says_so_everywhere(walk: Walk) -> None:
    walk.decide("ravi")
    override(walk)
    events: list[EventNote] = []
    while not events:
        events = list(walk.step().events)

    assert walk.phase == "Overridden"
    assert [(one.type, one.reason) for one in events] == [("Warning", "Overridden")]
    assert walk.types[-1] == "BreakGlassGranted"
    assert walk.records[-1].payload["missing"] == "1 of role compliance"
    assert walk.records[-1].payload["approvers"] == "dora (break-glass)"
    assert walk.records[-1].payload["expirationTime"] == "2026-11-24T16:30:00Z"
    message = walk.release["status"]["message"]
    assert message.startswith("BREAK GLASS: served without its quorum (missing 1 of role compliance)")
    assert "by dora (break-glass) until 2026-11-24T16:30:00Z" in message
    assert walk.condition("Approved").status == "False"
    assert walk.condition("Overridden").status == "True"
    assert walk.release["status"]["approvals"] == "1/2"
    assert walk.release["status"]["override"]["expirationTime"] == "2026-11-24T16:30:00Z"
    assert "approvedTime" not in walk.release["status"]
    assert walk.condition("Overridden").message == walk.condition("Approved").message
    assert walk.condition("Overridden").message == (
        "BREAK GLASS: served without its quorum (missing 1 of role compliance), overridden by dora (break-glass) until "
        "2026-11-24T16:30:00Z. Then its route closes, unless the quorum is reached before"
    )


@pytest.mark.attack(42)
def test_an_override_ends_by_the_second_and_for_good(serving: Walk) -> None:
    assert serving.step().requeue_after == pytest.approx(4 * 3600 + 0.1)
    serving.now += 4 * HOURS - timedelta(seconds=1)
    assert serving.settle() == "Overridden"
    serving.now += timedelta(seconds=1)
    serving.ledger_works = False
    made = serving.step()
    assert serving.phase == "PendingApproval", "closing does not wait for the ledger"
    assert made.events[0].type == "Warning"
    assert serving.condition("Overridden").reason == ReleaseReason.OVERRIDE_EXPIRED
    assert serving.condition("Overridden").message == "overridden by dora (break-glass); its time is over"
    serving.ledger_works = True
    assert serving.settle() == "PendingApproval"
    assert (serving.types[-1], serving.records[-1].payload) == ("BreakGlassEnded", {"outcome": "Expired"})
    serving.now -= 2 * HOURS
    assert serving.settle() == "PendingApproval", "a clock that goes back opens nothing"
    assert serving.release["status"]["override"]["outcome"] == "Expired"


@pytest.mark.attack(42)
def test_a_release_is_overridden_once(serving: Walk) -> None:
    serving.now += 5 * HOURS
    serving.settle()
    override(serving, "dirk")
    assert serving.settle() == "PendingApproval"
    assert serving.types.count("BreakGlassGranted") == 1
    assert "overridden only once" in serving.release["status"]["message"]


def test_the_quorum_reached_in_time_is_the_review(serving: Walk) -> None:
    serving.decide("ravi")
    serving.decide("cora")
    phases = {serving.phase}
    for _ in range(5):
        serving.step()
        phases.add(serving.phase)
    assert phases == {"Overridden", "Serving"}, "the route stays open all the while"
    assert [one.payload for one in serving.records if one.type == "BreakGlassEnded"] == [{"outcome": "Reviewed"}]
    assert serving.condition("Approved").status == "True"
    assert serving.condition("Overridden").reason == ReleaseReason.OVERRIDE_REVIEWED
    serving.now += 5 * HOURS
    assert serving.settle() == "Serving"
    assert serving.release["status"]["override"]["outcome"] == "Reviewed"


def test_a_quorum_that_is_recorded_in_the_second_of_the_end_is_no_review(serving: Walk) -> None:
    """A record's time has no fractions: what it says may be up to a second too early."""
    serving.now += 4 * HOURS + timedelta(milliseconds=300)
    serving.decide("ravi")
    serving.decide("cora")
    serving.step()
    for entry in plan(serving.observe(), serving.now).audit:
        if entry.type != "BreakGlassEnded":
            serving.records.append(chain.next_record(entry, serving.records[-1], serving.now))
    assert serving.records[-1].type == "ReleaseApproved"
    assert serving.records[-1].time == "2026-11-24T16:30:00Z"
    assert serving.settle() == "Serving"
    assert serving.records[-1].payload == {"outcome": "Expired"}


def test_a_quorum_that_comes_too_late_opens_the_release_again_but_is_no_review(serving: Walk) -> None:
    serving.now += 5 * HOURS
    serving.decide("ravi")
    serving.decide("cora")
    serving.step()
    assert serving.phase == "PendingApproval"
    assert serving.settle() == "Serving"
    assert [one.payload for one in serving.records if one.type == "BreakGlassEnded"] == [{"outcome": "Expired"}]


def test_a_late_approval_is_no_review_even_if_the_operator_dies_before_it_records_the_end(serving: Walk) -> None:
    serving.now += 5 * HOURS
    serving.decide("ravi")
    serving.decide("cora")
    serving.step()
    for entry in plan(serving.observe(), serving.now).audit:
        if entry.type != "BreakGlassEnded":
            serving.records.append(chain.next_record(entry, serving.records[-1], serving.now))
    assert serving.types[-1] == "ReleaseApproved"
    assert serving.settle() == "Serving"
    assert serving.records[-1].payload == {"outcome": "Expired"}


def test_whoever_overrode_can_shorten_it_and_take_it_back() -> None:
    walk = glazed()
    override(walk, expirationTime="2026-11-24T13:00:00Z")
    assert walk.settle() == "Overridden"
    assert walk.release["status"]["override"]["expirationTime"] == "2026-11-24T13:00:00Z"
    override(walk, decision="Withdraw")
    walk.step()
    assert walk.phase == "PendingApproval"
    walk.settle()
    assert walk.records[-1].payload == {"outcome": "Withdrawn"}


@pytest.mark.attack(26, 42)
@pytest.mark.parametrize(("decision", "phase"), [("Revoke", "Revoked"), ("Reject", "Denied")])
def test_a_stop_ends_an_override_and_none_comes_after_it(serving: Walk, decision: str, phase: str) -> None:
    serving.decide("ravi", "stop", decision=decision, reason="wrong answers in production")
    serving.step()
    assert serving.phase == phase
    serving.settle()
    assert serving.records[-1].payload == {"outcome": "Stopped"}
    late = glazed()
    late.decide("ravi", "stop", decision=decision, reason="wrong answers in production")
    override(late)
    assert late.settle() == phase
    assert "BreakGlassGranted" not in late.types


def test_an_override_before_there_is_evidence_or_of_an_approved_release_changes_nothing(walk: Walk) -> None:
    walk.decide("ravi")
    walk.decide("cora")
    override(walk)
    assert walk.settle() == "Approved"
    assert "BreakGlassGranted" not in walk.types
    early = Walk()
    early.world["ApprovalPolicy"]["spec"]["breakGlass"] = GLASS
    early.job["status"]["phase"] = "Training"
    early.settle()
    override(early)
    assert early.settle() == "PendingEvidence"


@pytest.mark.attack(14, 42)
def test_what_differs_from_the_statement_is_not_served_by_an_override(serving: Walk) -> None:
    serving.world["BaseModel"]["status"]["manifestDigest"] = release_evidence.digest("8")
    serving.step()
    assert serving.phase == "Failed", "what runs by an approval would keep running"


@pytest.mark.attack(42)
def test_nothing_is_overridden_while_the_ledger_is_down(walk: Walk) -> None:
    override(walk)
    walk.ledger_works = False
    for _ in range(3):
        walk.step()
    assert walk.phase == "PendingApproval"


@pytest.mark.attack(42)
@pytest.mark.parametrize("reason", [ReleaseReason.WAITING_FOR_REGISTRY, ReleaseReason.DIGEST_MISMATCH])
def test_an_override_ends_in_time_even_if_its_statement_cannot_be_read(serving: Walk, reason: ReleaseReason) -> None:
    def unread() -> str:
        short = Shortfall(reason, "the registry says no")
        made = plan(replace(serving.observe(), frozen=None, shortfall=short, changed=()), serving.now)
        assert made.status is not None
        return str(made.status["phase"])

    lost = reason is ReleaseReason.DIGEST_MISMATCH
    assert unread() == ("Failed" if lost else "Overridden")
    serving.now += 5 * HOURS
    assert unread() == ("Failed" if lost else "PendingApproval")


def test_a_withdrawn_approval_can_be_overridden(walk: Walk) -> None:
    walk.decide("ravi")
    walk.decide("cora")
    walk.settle()
    walk.decide("cora", "back", decision="Withdraw", reason="the report was wrong")
    assert walk.settle() == "PendingApproval"
    override(walk)
    assert walk.settle() == "Overridden"


def test_break_glass_of_more_than_a_week_is_refused() -> None:
    with pytest.raises(ValueError, match="604800"):
        BreakGlass.model_validate({**GLASS, "maxSeconds": 604_801})
