"""What the API server's own audit log tells of decisions: the real caller behind an impersonation, and what was refused."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.governed_namespace import Json, World, labelled

pytestmark = [pytest.mark.cluster, pytest.mark.local_cluster("reads the API server's audit log from its file")]
LOG = Path(os.environ.get("TUNEGATE_STATE", "/var/lib/tunegate-local")) / "logs/audit.log"
RISK = "tunegate:model-risk"


@dataclass
class AuditLog:
    """The local cluster's audit log from here on."""

    start: int

    def find(self, fits: Callable[[Json], bool]) -> Json:
        """Return the first event that fits; the API server writes it within a moment of its answer."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with LOG.open("rb") as file:
                file.seek(self.start)
                whole = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
            if found := [event for event in map(json.loads, whole) if fits(event)]:
                return dict(found[0])
            time.sleep(0.2)
        pytest.fail("the audit log has no such event")

    def of(self, resource: str, name: str) -> Json:
        return self.find(
            lambda event: (
                event.get("objectRef", {}).get("resource") == resource
                and name
                in (event["objectRef"].get("name"), event.get("requestObject", {}).get("metadata", {}).get("name"))
            )
        )


@pytest.fixture
def log() -> AuditLog:
    return AuditLog(LOG.stat().st_size)


def told(world: World, event: Json) -> Json:
    """Return what the rule on approvals says in an event, by its last word."""
    mine = f"{world.namespace}-tunegate-approver/"
    return {key.removeprefix(mine): text for key, text in event["annotations"].items() if key.startswith(mine)}


@pytest.mark.attack(6)
def test_an_approval_by_impersonation_shows_the_real_caller(world: World, log: AuditLog) -> None:
    forged = labelled(world, world.approval("cora", RISK))
    groups = (RISK, "system:authenticated")
    world.create("admin", forged, dry_run=False, as_="cora", groups=groups).passes()
    event = log.of("approvals", forged["metadata"]["name"])
    assert (event["user"]["username"], event["impersonatedUser"]["username"]) == ("tunegate-admin", "cora")
    assert told(world, event) == {
        "decision": "Approve", "role": "risk", "who": "cora",
        "subject": f"ModelRelease/release {forged['spec']['subjectDigest']}",
    }  # fmt: skip


@pytest.mark.attack(1, 2)
@pytest.mark.parametrize(
    ("author", "changes"),
    [("cora", {}), ("ravi", {"role": "compliance"})],
    ids=["in another name", "without the verb"],
)
def test_a_refused_approval_is_found_with_who_tried(world: World, log: AuditLog, author: str, changes: Json) -> None:
    forged = world.approval(author, RISK, **changes)
    world.create("reviewer-risk", forged, dry_run=False).refused("is forbidden")
    event = log.of("approvals", forged["metadata"]["name"])
    assert (event["user"]["username"], event["responseStatus"]["code"]) == ("ravi", 403)
    assert told(world, event)["who"] == "ravi"
    assert (
        f"{world.namespace}-tunegate-approver"
        in event["annotations"]["validation.policy.admission.k8s.io/validation_failure"]
    )


@pytest.mark.attack(5)
def test_a_program_that_tried_to_approve_is_found(world: World, log: AuditLog) -> None:
    forged = world.approval("tunegate-admin", "system:masters")
    world.create("admin", forged, dry_run=False).refused("only people decide")
    event = log.of("approvals", forged["metadata"]["name"])
    assert "system:masters" in event["user"]["groups"]
    assert "only people decide" in event["responseStatus"]["message"]


@pytest.mark.attack(35)
def test_who_asked_for_the_operators_token_is_found(world: World, log: AuditLog) -> None:
    words = ("create", "token", "tunegate-operator", "-n", world.system)
    world.kubectl("platform-admin", *words).refused("given to its pods only")
    event = log.find(
        lambda event: (
            event.get("objectRef", {}).get("subresource") == "token"
            and event["objectRef"].get("namespace") == world.system
        )
    )
    assert (event["user"]["username"], event["responseStatus"]["code"]) == ("petra", 403)
