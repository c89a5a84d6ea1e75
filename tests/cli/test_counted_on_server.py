"""Decisions that people made are counted by the release controller on the real server, and the status says what does not count."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tests.support import release_evidence
from tests.support.command_line import Cli, get
from tests.support.governed_namespace import World
from tests.support.release_cluster import Settle, ask

pytestmark = pytest.mark.cluster


@pytest.mark.attack(3)
async def test_own_approval_by_the_requester_and_one_taken_back_do_not_count(
    world: World, cli: Cli, job: str, settle: Settle
) -> None:
    """petra holds every right of RBAC: admission lets her, counting does not."""
    document = release_evidence.release_of({"metadata": {"name": "job", "uid": job}}, world.namespace)
    document["metadata"]["name"] = "hers"
    document["spec"]["requestedBy"] = {"username": "petra", "groups": ["tunegate:platform-admins"]}
    world.create("platform-admin", document, dry_run=False).passes()
    await settle("hers")
    hers = cli.run("platform-admin", "approve", "hers", "--role", "risk", "--reason", "mine", "--yes")
    assert "This may not count: role risk takes members of tunegate:model-risk" in hers
    never = cli.run("reviewer-risk", "withdraw", "hers", "--reason", "found a mistake", "--yes", code=1)
    assert "you have given no approval of this" in never
    assert "still needed" in cli.run("reviewer-risk", "approve", "hers", "--reason", "fine", "--yes")
    taken = cli.run("reviewer-risk", "withdraw", "hers", "--reason", "found a mistake", "--yes")
    assert "counts until" not in taken
    twice = cli.run("reviewer-risk", "withdraw", "hers", "--reason", "found a mistake", "--yes", code=1)
    assert "you took your approvals of this back before" in twice
    status = await settle("hers")
    assert status["phase"] == "PendingApproval"
    found = {one["username"]: one["reason"] for one in status["dropped"]}
    assert found == {"petra": "NotInRoleGroup", "ravi": "Withdrawn"}
    again = cli.run("reviewer-risk", "approve", "hers", "--reason", "fine after all", "--yes", code=1)
    assert "you withdrew your approval, and that is permanent" in again
    (row,) = [
        one for one in json.loads(cli.run("reviewer-risk", "get", "releases", "-o", "json")) if one["name"] == "hers"
    ]
    assert row["waitsFor"] == "risk, compliance"


async def test_every_approval_that_does_not_count_stands_in_the_status_with_its_reason(
    world: World, cli: Cli, job: str, settle: Settle
) -> None:
    """All five are admitted: the people are who they say they are, and hold the right to approve."""
    asked = release_evidence.release_of({"metadata": {"name": "job", "uid": job}}, world.namespace)
    asked["metadata"]["name"] = "contested"
    asked["spec"]["requestedBy"] = {"username": "ravi", "groups": ["tunegate:model-risk", "tunegate:engineers"]}
    risk = ("tunegate:model-risk", "tunegate:engineers", "system:authenticated")
    world.create("admin", asked, dry_run=False, as_="ravi", groups=risk).passes()
    status = await settle("contested")
    release = json.loads(get(world, "ModelRelease", "contested"))
    subject = {"kind": "ModelRelease", "name": "contested", "uid": release["metadata"]["uid"]}

    def approve(who: str, group: str, role: str, **changes: Any) -> None:
        wanted = {"subjectRef": subject, "subjectDigest": status["releaseDigest"], "role": role, **changes}
        document = world.approval(who, group, **wanted)
        world.create("admin", document, dry_run=False, as_=who, groups=(group, "system:authenticated")).passes()

    approve("ravi", "tunegate:model-risk", "risk")
    approve("cora", "tunegate:compliance", "compliance")
    approve("cora", "tunegate:compliance", "compliance")
    approve("rita", "tunegate:model-risk", "risk", subjectDigest=release_evidence.digest("0"))
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    approve("rolf", "tunegate:model-risk", "risk", expirationTime=soon)
    await asyncio.sleep(6)
    status = await settle("contested")

    assert (status["phase"], status["approvals"]) == ("PendingApproval", "1/2")
    assert [one["username"] for one in status["counted"]] == ["cora"]
    assert sorted((one["username"], one["reason"]) for one in status["dropped"]) == [
        ("cora", "SamePerson"), ("ravi", "IsRequester"), ("rita", "WrongDigest"), ("rolf", "Expired"),
    ]  # fmt: skip
    page = json.loads(cli.run("auditor", "describe", "contested", "-o", "json"))
    assert sorted(one["counted"] for one in page["approvals"]) == [
        "Expired", "IsRequester", "SamePerson", "WrongDigest", "yes",
    ]  # fmt: skip
    assert page["quorum"]["missing"] == [{"role": "risk", "missing": 1, "groups": ["tunegate:model-risk"]}]
    assert "waits for 1 of role risk" in cli.run("auditor", "describe", "contested")


@pytest.mark.attack(42)
async def test_an_override_holds_for_its_time_and_a_release_is_overridden_once(
    world: World, cli: Cli, job: str, settle: Settle
) -> None:
    """sven holds the verb after a site bound it to him, and no other."""
    subject = ask(world, "urgent", job)
    status = await settle("urgent")
    refused = cli.run("serving-operator", "override", "urgent", "--reason", "production leaks names", "--yes", code=1)
    assert "you hold the verb 'override' on none of the roles break-glass" in refused
    role = f"{world.namespace}-tunegate-break-glass"
    who = ("--clusterrole", role, "--group", "tunegate:serving-operators", "-n", world.namespace)
    world.kubectl("admin", "create", "rolebinding", "duty", *who).passes()

    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20))
    given: dict[str, Any] = {"decision": "Override", "role": "break-glass", "reason": "production leaks names"}
    given |= {"subjectRef": subject, "subjectDigest": status["releaseDigest"], "expirationTime": soon}
    decision = world.approval("sven", "tunegate:serving-operators", **given)
    world.create("serving-operator", decision, dry_run=False).passes()
    status = await settle("urgent")
    assert (status["phase"], status["approvals"], status["override"]["expirationTime"]) == ("Overridden", "0/2", soon)
    assert status["message"].startswith("BREAK GLASS")
    assert "BREAK GLASS" in cli.run("auditor", "describe", "urgent")

    await asyncio.sleep(21)
    status = await settle("urgent")
    assert (status["phase"], status["override"]["outcome"]) == ("PendingApproval", "Expired")
    again = cli.run("serving-operator", "override", "urgent", "--reason", "production leaks names", "--yes")
    assert "Override of" in again
    assert "(role break-glass)" in again
    assert "overridden only once" in (await settle("urgent"))["message"]
