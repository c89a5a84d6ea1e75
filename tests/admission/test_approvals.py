"""Approvals at the door: nobody can decide as somebody else, with a group not held, without the verb, or forever."""

from __future__ import annotations

import pytest

from tests.support.governed_namespace import World

pytestmark = pytest.mark.cluster


def test_reviewer_approves_under_her_own_name_and_role(world: World) -> None:
    world.create("reviewer-risk", world.approval()).passes()


@pytest.mark.attack(1)
def test_approval_as_somebody_else_is_refused_and_the_line_to_paste_is_shown(world: World) -> None:
    forged = world.approval("cora", "tunegate:model-risk")
    world.create("reviewer-risk", forged).refused('approver: {username: "ravi"')


@pytest.mark.attack(1)
def test_approval_by_the_engineer_in_a_reviewers_name_is_refused(world: World) -> None:
    world.create("engineer", world.approval()).refused("erin", "cannot create resource")


@pytest.mark.attack(1)
def test_approval_with_a_uid_that_is_not_the_callers_is_refused(world: World) -> None:
    forged = world.approval(approver={"username": "ravi", "uid": "7", "groups": ["tunegate:model-risk"]})
    world.create("reviewer-risk", forged).refused("spec.approver must be you")


@pytest.mark.attack(2)
def test_approval_with_a_group_not_held_is_refused(world: World) -> None:
    forged = world.approval("ravi", "tunegate:compliance")
    world.create("reviewer-risk", forged).refused("a group that ravi is not in")


@pytest.mark.attack(2)
def test_approval_without_the_verb_is_refused(world: World) -> None:
    other = world.approval("cora", "tunegate:compliance", role="risk")
    world.create("reviewer-compliance", other).refused('verb "approve" on approvalroles/risk')


def test_revocation_without_the_verb_is_refused(world: World) -> None:
    revoke = world.approval("cora", "tunegate:compliance", role="risk", decision="Revoke", reason="answers are wrong")
    world.create("reviewer-compliance", revoke).refused('verb "revoke" on approvalroles/risk')


def test_on_call_may_revoke_but_not_approve(world: World) -> None:
    group = "tunegate:serving-operators"
    revoke = world.approval("sven", group, role="serving-operator", decision="Revoke", reason="answers are wrong")
    world.create("serving-operator", revoke).passes()
    approve = world.approval("sven", group, role="serving-operator")
    world.create("serving-operator", approve).refused('verb "approve" on approvalroles/serving-operator')


@pytest.mark.attack(5)
def test_service_account_with_every_right_is_refused(world: World) -> None:
    namespace = world.namespace
    world.kubectl("admin", "create", "serviceaccount", "robot", "-n", namespace).passes()
    role = f"{namespace}-tunegate-approver"
    account = f"--serviceaccount={namespace}:robot"
    for name in (role, f"{role}-risk"):
        binding = ("create", "rolebinding", f"robot-{name}", f"--clusterrole={name}", account, "-n", namespace)
        world.kubectl("admin", *binding).passes()
    token = world.kubectl("admin", "create", "token", "robot", "-n", namespace).passes().out.strip()
    approval = world.approval(f"system:serviceaccount:{namespace}:robot", "system:serviceaccounts")
    answer = world.with_token(token, "create", "-f", "-", "--dry-run=server", stdin=approval)
    answer.refused("only people decide, with their own")


@pytest.mark.attack(5)
def test_member_of_system_masters_is_refused(world: World) -> None:
    world.create("admin", world.approval("tunegate-admin", "system:masters")).refused(
        "only people decide, with their own"
    )


def test_expiry_in_the_past_is_refused(world: World) -> None:
    world.create("reviewer-risk", world.approval(expirationTime="2020-01-01T00:00:00Z")).refused(
        "must lie in the future"
    )


@pytest.mark.attack(24)
def test_expiry_beyond_a_year_is_refused(world: World) -> None:
    world.create("reviewer-risk", world.approval(expirationTime="2099-01-01T00:00:00Z")).refused("one year at most")


@pytest.mark.attack(36)
def test_approval_with_an_unknown_field_is_refused(world: World) -> None:
    world.create("reviewer-risk", world.approval(quorum=1)).refused('unknown field "spec.quorum"')


@pytest.mark.attack(1)
def test_waiver_of_a_job_is_held_to_the_same_rules(world: World) -> None:
    job = {"kind": "FineTuneJob", "name": "job", "uid": "11111111-2222-3333-4444-555555555555"}
    world.create("reviewer-risk", world.approval(subjectRef=job)).passes()
    forged = world.approval("cora", "tunegate:model-risk", subjectRef=job)
    world.create("reviewer-risk", forged).refused('approver: {username: "ravi"')
    other = world.approval("cora", "tunegate:compliance", role="risk", subjectRef=job)
    world.create("reviewer-compliance", other).refused('verb "approve" on approvalroles/risk')
    world.create("engineer", world.approval("erin", "tunegate:engineers", subjectRef=job)).refused(
        "cannot create resource"
    )
    revoke = world.approval(subjectRef=job, decision="Revoke", reason="not wanted any more")
    world.create("reviewer-risk", revoke).refused("for a FineTuneJob that waits for a waiver use Reject")
