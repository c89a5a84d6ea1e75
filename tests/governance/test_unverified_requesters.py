"""Requesters whom nobody knows: refused by default, and where they are let in, no quorum rests on one of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.governance.test_break_glass import glazed, override
from tests.governance.test_waivers import FEW, WaiverWorld
from tests.support.builders import make_approvalpolicy
from tests.support.election import Election, elections
from tests.support.job_world import condition, run_to
from tests.support.release_walk import Walk
from tunegate.api.approvalpolicy import ApprovalPolicySpec
from tunegate.api.shared import Requester
from tunegate.release.counting import count
from tunegate.release.requesters import needed, refused

TOOL = {"username": "system:serviceaccount:argocd:controller", "unverified": True}
NOBODY = Requester.model_validate(TOOL)
ERIN = Requester(username="erin")


def by_tool(kind: str, rule: str) -> Walk:
    """Return a release that a GitOps tool asked for, or whose job it asked for."""
    walk = Walk()
    walk.world["ApprovalPolicy"]["spec"]["unverifiedRequester"] = rule
    getattr(walk, kind)["spec"]["requestedBy"] = TOOL
    return walk


@pytest.mark.attack(43)
@pytest.mark.parametrize("kind", ["job", "release"])
def test_what_a_tool_asked_for_is_refused_unless_the_policy_says_otherwise(kind: str) -> None:
    walk = by_tool(kind, "Deny")
    assert walk.settle() == "Failed"
    assert walk.condition("EvidenceComplete").reason == "RequesterUnverified"
    assert "unverifiedRequester: ExtraApproval" in walk.release["status"]["message"]


def test_the_refusal_names_each_tool_once_and_says_what_to_do() -> None:
    policy = ApprovalPolicySpec.model_validate(make_approvalpolicy()["spec"])
    flux = NOBODY.model_copy(update={"username": "flux"})
    assert refused("two-person", policy, NOBODY, ERIN, flux, NOBODY) == (
        "flux and system:serviceaccount:argocd:controller asked without saying for whom (spec.requestedBy.unverified), which "
        "ApprovalPolicy two-person denies. Ask with your own credentials, as `tunegate create` does; or the policy's owner "
        "sets unverifiedRequester: ExtraApproval"
    )


@pytest.mark.attack(43)
@pytest.mark.parametrize("kind", ["job", "release"])
def test_each_role_needs_one_approval_more_for_what_a_tool_asked(kind: str) -> None:
    walk = by_tool(kind, "ExtraApproval")
    assert walk.settle() == "PendingApproval"
    assert walk.release["status"]["approvals"] == "0/4"
    walk.decide("ravi")
    walk.decide("cora")
    walk.decide("rita")
    assert walk.settle() == "PendingApproval"
    assert walk.release["status"]["missing"] == [{"role": "compliance", "missing": 1}]
    walk.decide("carl", role="compliance", approver={"username": "carl", "groups": ["compliance"]})
    assert walk.settle() == "Approved"


@pytest.mark.attack(43)
def test_an_override_of_what_a_tool_asked_needs_one_more_person() -> None:
    walk = glazed()
    walk.world["ApprovalPolicy"]["spec"]["unverifiedRequester"] = "ExtraApproval"
    walk.release["spec"]["requestedBy"] = TOOL
    walk.records, walk.stored = [], None
    walk.settle()
    override(walk)
    assert walk.settle() == "PendingApproval"
    override(walk, "dirk")
    assert walk.settle() == "Overridden"


@settings(max_examples=500, deadline=None)
@given(elections)
def test_a_quorum_of_unverified_requests_stands_without_any_one_of_its_people(election: Election) -> None:
    """Whoever of them hides behind the tool: the others alone are the quorum that the policy asks for."""
    asked = replace(election.question, roles=needed(election.question.roles, NOBODY))
    stricter = Election(asked, election.votes, election.now)
    found = count(stricter.question, stricter.votes, stricter.now)

    assert found.outcome == stricter.outcome
    if found.outcome == "Quorum":
        for hidden in {stricter.person(one.vote) for one in found.counted}:
            left = [vote for vote in election.votes if vote.account not in hidden]
            assert count(election.question, left, election.now).outcome == "Quorum"


@given(st.lists(st.sampled_from([ERIN, NOBODY]), max_size=3), elections)
def test_roles_change_only_for_unverified_requesters(asked: list[Requester], election: Election) -> None:
    roles = election.question.roles
    found = needed(roles, *asked)
    extra = 1 if NOBODY in asked else 0
    for old, new in itertools.zip_longest(roles, found):
        assert new == old.model_copy(update={"min_approvals": old.min_approvals + extra})


@pytest.mark.attack(43)
def test_a_job_of_a_tool_does_not_begin_under_a_policy_that_denies_it() -> None:
    world = WaiverWorld()
    world.spec["requestedBy"] = TOOL
    world.reconcile()
    assert world.status["phase"] == "Failed"
    assert condition(world.status, "Complete")["reason"] == "RequesterUnverified"
    assert world.history == []


@pytest.mark.attack(43)
def test_a_waiver_of_a_job_that_a_tool_asked_for_needs_one_more_person() -> None:
    world = WaiverWorld(unverified_requester="ExtraApproval")
    world.spec["requestedBy"] = TOOL
    world.refuse(FEW)
    assert world.status["waiver"]["approvals"] == "0/2"
    world.decide("stella")
    world.reconcile()
    assert world.status["phase"] == "PendingWaiver"
    world.decide("steve")
    world.reconcile()
    assert condition(world.status, "Waived")["status"] == "True"
    assert run_to(world, "Train")
