"""A reviewer signs with a smart card on the command line; the real API server admits it, and the count reads it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.approvers import signer
from tests.support.builders import make_approvalpolicy
from tests.support.governed_namespace import World, say_phase
from tests.support.software_token import MODULE, PIN, SoftwareToken
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.reconcile.approvals import votes
from tunegate.release.ballot import Question, Verdict
from tunegate.release.counting import count

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
DIGEST = "sha256:" + "5" * 64


@pytest.fixture
def policy(world: World, token: SoftwareToken) -> Iterator[ApprovalPolicy]:
    """A policy whose role takes ravi's signature, as the API server has it."""
    name = f"{world.namespace}-signed"
    signers = [signer("ravi", token.key)]
    roles = [{"name": "risk", "groups": ["tunegate:model-risk"], "signers": signers}]
    world.create("admin", make_approvalpolicy(name, roles=roles), dry_run=False).passes()
    try:
        shown = world.kubectl("admin", "get", "approvalpolicy", name, "-o", "json").passes().out
        yield ApprovalPolicy.model_validate_json(shown)
    finally:
        world.kubectl("admin", "delete", "approvalpolicy", name, "--wait=false")


@pytest.fixture
def release(world: World) -> str:
    """A release that waits for approvals; returns its uid."""
    world.create("engineer", world.release("signed"), dry_run=False).passes()
    say_phase(world, "signed", "PendingApproval", releaseDigest=DIGEST)
    shown = world.kubectl("admin", "get", "modelrelease", "signed", "-n", world.namespace, "-o", "json").passes().out
    return str(json.loads(shown)["metadata"]["uid"])


def approve(world: World, *more: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as ravi, in a process of its own."""
    where = ["--kubeconfig", world.kubeconfig("reviewer-risk"), "-n", world.namespace]
    what = ["approve", "signed", "--role", "risk", "--reason", "report was read", "--yes"]
    command = [sys.executable, "-m", "tunegate.cli", *where, *what, *map(str, more)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def approvals(world: World) -> list[Approval]:
    shown = world.kubectl("reviewer-risk", "get", "approvals", "-n", world.namespace, "-o", "json").passes().out
    items = [Approval.model_validate(one) for one in json.loads(shown)["items"]]
    return [one for one in items if one.spec.subject_ref.name == "signed"]


def counted(policy: ApprovalPolicy, uid: str, made: list[Approval]) -> Verdict:
    roles = tuple(policy.spec.roles)
    asked = Question(uid, DIGEST, frozenset(), roles, timedelta(days=1))
    backed = frozenset(one.uid for one in made)
    return count(asked, votes(made, roles, backed, ()), datetime.now(UTC))


def test_a_decision_signed_with_a_smart_card_counts_and_an_altered_copy_of_it_does_not(
    world: World, token: SoftwareToken, policy: ApprovalPolicy, release: str, tmp_path: Path
) -> None:
    unsigned = approve(world)
    assert unsigned.returncode == 0, unsigned.stderr
    assert "Without --key this may not count: role risk takes signed approvals" in unsigned.stderr
    (tmp_path / "pin").write_text("0000")
    card = ("--key", token.uri, "--pkcs11-module", MODULE, "--pin-file", tmp_path / "pin")
    refused = approve(world, *card)
    assert refused.returncode == 1
    assert "the token refused the PIN" in refused.stderr
    made = approvals(world)
    assert len(made) == 1, "with a wrong PIN nothing is recorded"
    assert [one.reason for one in counted(policy, release, made).dropped] == ["NotSigned"]

    (tmp_path / "pin").write_text(PIN)
    done = approve(world, *card)
    assert done.returncode == 0, done.stderr
    assert f"signed with key {token.key.id}" in done.stderr
    assert '"reason": "report was read"' in done.stderr
    assert PIN not in done.stdout + done.stderr
    verdict = counted(policy, release, approvals(world))
    assert (verdict.outcome, len(verdict.counted)) == ("Quorum", 1)

    good = next(one for one in approvals(world) if one.spec.signature is not None)
    altered = world.approval(**{**good.spec.to_dict(), "reason": "report was read, and I wonder"})
    world.create("reviewer-risk", altered, dry_run=False).passes()
    copy = [one for one in approvals(world) if one.spec.reason.endswith("wonder")]
    assert [one.reason for one in counted(policy, release, copy).dropped] == ["BadSignature"]


def test_the_api_server_takes_an_envelope_in_one_form_only(world: World, token: SoftwareToken) -> None:
    signature: Json = {
        "payloadType": "application/vnd.in-toto+json", "payload": "e30=",
        "signatures": [{"keyid": token.key.id, "sig": "AAAA"}],
    }  # fmt: skip
    world.create("reviewer-risk", world.approval(signature=signature)).passes()
    changes: tuple[Json, ...] = (
        {"payloadType": "text/plain"}, {"payload": "not base64!"}, {"signatures": []},
        {"signatures": [{"keyid": "ravi", "sig": "AAAA"}]}, {"signatures": signature["signatures"] * 2},
    )  # fmt: skip
    for change in changes:
        world.create("reviewer-risk", world.approval(signature=signature | change)).refused("spec.signature.")
