"""Approvals that stop counting after the release was approved: what runs goes on, nothing new is rolled out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.support.release_walk import Walk
from tunegate.admission.rules import Window
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.reasons import ReleaseReason
from tunegate.reconcile.modelserver.observed import Candidate


@pytest.fixture
def walk() -> Walk:
    made = Walk()
    for asked in (made.job, made.release):
        asked["metadata"]["creationTimestamp"] = "2026-11-24T11:00:00Z"
    made.approve()
    return made


def doubtful(walk: Walk) -> bool:
    """Whether a server would refuse to take it up."""
    return Candidate(ModelRelease.model_validate(walk.release)).doubtful


def role_taken(walk: Walk) -> None:
    walk.unauthorized = {"ravi"}


def made_without_rules(walk: Walk) -> None:
    made = datetime.fromisoformat(walk.approvals[0]["metadata"]["creationTimestamp"])
    walk.windows = (Window(made - timedelta(minutes=5), made),)


def time_over(walk: Walk) -> None:
    walk.now += timedelta(days=8)


CAUSES = [
    (role_taken, ReleaseReason.APPROVER_NOT_AUTHORIZED, "NotAuthorized"),
    (made_without_rules, ReleaseReason.RULES_NOT_IN_FORCE, "RulesNotInForce"),
    (time_over, ReleaseReason.APPROVAL_EXPIRED, "Expired"),
]
Change = Callable[[Walk], None]


@pytest.mark.attack(25)
@pytest.mark.parametrize(("change", "reason", "word"), CAUSES)
def test_what_lost_its_quorum_before_it_was_rolled_out_is_not_rolled_out(
    walk: Walk, change: Change, reason: ReleaseReason, word: str
) -> None:
    assert not doubtful(walk)
    change(walk)
    assert walk.settle() == "Approved"
    assert doubtful(walk)
    assert walk.condition("QuorumLost").reason == reason
    assert walk.condition("Ready").status == "False"
    said = walk.release["status"]["message"]
    assert f"ravi-approves ({word})" in said
    assert "A reviewer runs: tunegate approve release/release" in said


@pytest.mark.attack(25)
@pytest.mark.parametrize(("change", "reason", "word"), CAUSES)
def test_what_lost_its_quorum_while_it_runs_keeps_running(
    walk: Walk, change: Change, reason: ReleaseReason, word: str
) -> None:
    walk.serve()
    walk.settle()
    change(walk)
    assert walk.settle() == "Serving"
    assert doubtful(walk)
    assert walk.condition("QuorumLost").reason == reason
    assert walk.condition("Ready").status == "True"
    assert "answers as extractor" in walk.release["status"]["message"]


@pytest.mark.attack(25)
def test_another_reviewer_in_place_of_the_one_who_lost_the_role_lets_it_go_on(walk: Walk) -> None:
    role_taken(walk)
    walk.settle()
    walk.decide("rita")
    assert walk.settle() == "Approved"
    assert not doubtful(walk)
    assert walk.condition("QuorumLost").status == "False"
    assert walk.types.count("ReleaseApproved") == 2


def test_right_that_was_given_back_lets_it_go_on(walk: Walk) -> None:
    role_taken(walk)
    walk.settle()
    walk.unauthorized = set()
    walk.settle()
    assert not doubtful(walk)
    assert walk.types.count("ReleaseApproved") == 1


def test_several_causes_at_once_are_told_one_by_one(walk: Walk) -> None:
    walk.unauthorized = {"cora"}
    time_over(walk)
    walk.settle()
    assert walk.condition("QuorumLost").reason == ReleaseReason.APPROVALS_LOST
    message = walk.condition("QuorumLost").message
    assert "ravi-approves (Expired)" in message
    assert "cora-approves (NotAuthorized)" in message


def test_new_approvals_in_place_of_expired_ones_are_recorded(walk: Walk) -> None:
    walk.serve()
    time_over(walk)
    assert walk.settle() == "Serving"
    walk.decide("ravi", "again", expirationTime="2027-01-01T00:00:00Z")
    walk.decide("cora", "again-too", expirationTime="2027-01-01T00:00:00Z")
    for approval in walk.approvals[2:]:
        approval["metadata"]["creationTimestamp"] = "2026-12-02T12:00:00Z"
    assert walk.settle() == "Serving"
    assert walk.condition("QuorumLost").status == "False"
    assert walk.types.count("ReleaseApproved") == 2


def test_rights_are_asked_for_again_soon_while_something_approved_waits_to_be_rolled_out(walk: Walk) -> None:
    assert walk.step().requeue_after == 30.0
    walk.serve()
    walk.settle()
    later = walk.step().requeue_after
    assert later is not None
    assert later > 3600
