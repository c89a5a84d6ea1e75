"""Break-glass at the door: an own verb that nobody holds by an installation, bound to the caller like every decision."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.governed_namespace import Answer, World, render

pytestmark = pytest.mark.cluster
GROUP = "tunegate:duty"


def decide(world: World, who: str = "dora", **changes: Any) -> Answer:
    spec = {"role": "break-glass", "decision": "Override", "reason": "production leaks names", **changes}
    groups = (GROUP, "system:authenticated")
    return world.create("admin", world.approval(who, GROUP, **spec), as_=who, groups=groups)


@pytest.fixture(scope="module")
def duty(world: World) -> str:
    """Bind the chart's role to a group, as a site would."""
    role = f"{world.namespace}-tunegate-break-glass"
    args = ("create", "rolebinding", "duty", f"--clusterrole={role}", f"--group={GROUP}", "-n", world.namespace)
    world.kubectl("admin", *args).passes()
    return GROUP


@pytest.mark.attack(42)
def test_nobody_may_override_by_an_installation(world: World) -> None:
    bound = {one["roleRef"]["name"] for one in render(world.namespace) if "roleRef" in one}
    assert "tunegate-approver" in bound
    assert "tunegate-break-glass" not in bound
    for role, person, group in (
        ("reviewer-risk", "ravi", "tunegate:model-risk"), ("serving-operator", "sven", "tunegate:serving-operators"),
    ):  # fmt: skip
        mine = world.approval(person, group, role="break-glass", decision="Override", reason="production leaks names")
        world.create(role, mine).refused('verb "override" on approvalroles/break-glass')


def test_whoever_holds_the_verb_overrides_and_takes_it_back(world: World, duty: str) -> None:
    decide(world).passes()
    decide(world, decision="Withdraw").passes()


@pytest.mark.attack(42)
def test_the_verb_override_approves_and_revokes_nothing(world: World, duty: str) -> None:
    decide(world, decision="Approve").refused('verb "approve" on approvalroles/break-glass')
    decide(world, decision="Reject").refused('verb "approve" on approvalroles/break-glass')
    decide(world, decision="Revoke").refused('verb "revoke" on approvalroles/break-glass')
    decide(world, role="risk").refused('verb "override" on approvalroles/risk')


@pytest.mark.attack(42)
def test_override_in_another_name_without_reason_or_of_a_waiver_is_refused(world: World, duty: str) -> None:
    decide(world, approver={"username": "ravi", "groups": [GROUP]}).refused("spec.approver must be you")
    decide(world, reason="now").refused("at least 10 characters")
    job = {"kind": "FineTuneJob", "name": "job", "uid": "11111111-2222-3333-4444-555555555555"}
    decide(world, subjectRef=job).refused("no waiver is given that way")
