"""A cluster-admin takes the rules away and writes etcd itself: nothing stops her, and the offline verifier names what she did.

On an API server and an etcd of the test's own, with the chart's rules and the people's roles. Nothing works as the operator
there: it would notice the missing rules, but a cluster-admin can replace it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.governed_namespace import DIGEST, OPERATOR, World, as_list, render, say_phase
from tests.support.ledgers import new_key
from tunegate.api.approvalpolicy import ApprovalRole
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.main import main
from tunegate.controllers.approvals import read_approvals, still_backed
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.sequence import ordered
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.approvals import account, recorded, votes
from tunegate.reconcile.modelrelease import ledger_entries
from tunegate.release.ballot import Question
from tunegate.release.counting import count

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(600),
]
Json = dict[str, Any]
ADMIN, TEAM, RELEASE = "platform-admin", "team", "summaries"
RISK, COMPLIANCE = "tunegate:model-risk", "tunegate:compliance"
MEMBERS = (
    Member("admin", "tunegate-admin", ("system:masters",)),
    Member("operator", OPERATOR, ("system:masters",)),
    Member(ADMIN, "petra", ("tunegate:platform-admins",)),
    Member("engineer", "erin", ("tunegate:engineers",)),
    Member("reviewer-risk", "ravi", (RISK,)),
    Member("reviewer-compliance", "cora", (COMPLIANCE,)),
    Member("auditor", "ada", ("tunegate:auditors",)),
)
ROLES = (ApprovalRole(name="risk", groups=[RISK]), ApprovalRole(name="compliance", groups=[COMPLIANCE]))
OBJECTS = "/registry/tunegate.io/"
RECORDS = f"{OBJECTS}auditrecords/"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("plane"), MEMBERS) as running:
        yield running


@pytest.fixture(scope="module")
def alone(plane: ControlPlane) -> World:
    """The chart's rules and the people's roles, under their own names, for one governed namespace."""
    world = World(TEAM, "tunegate-system", plane.kubeconfig)
    install_definitions(plane)
    for namespace in (world.namespace, world.system):
        world.kubectl("admin", "create", "namespace", namespace).passes()
    may_all = ("clusterrolebinding", "admins", "--clusterrole=cluster-admin", "--group=tunegate:platform-admins")
    world.kubectl("admin", "create", *may_all).passes()
    world.kubectl("admin", "apply", "-f", "-", stdin=as_list(render(TEAM))).passes()
    until(lambda: "spec.approver must be you" in world.create("reviewer-risk", world.approval("cora")).err)
    # The API server learns of the rules' parameter kinds a moment after it serves them.
    until(lambda: "failed to configure binding" not in world.create("reviewer-risk", world.approval("ravi")).err)
    return world


def until(holds: Callable[[], bool]) -> None:
    """Wait: rules begin and end to act after a second or three."""
    deadline = time.monotonic() + 180
    while not holds():
        assert time.monotonic() < deadline, "it did not come true within 180 s"
        time.sleep(0.3)


@dataclass(frozen=True)
class Story:
    """A release that two people approved, as API server, etcd and ledger hold it, and what the auditor kept."""

    world: World
    plane: ControlPlane
    approval: str
    """Name of a decision that was counted."""
    kept: dict[str, bytes]
    """Everything as it was, by its key in etcd."""
    key: Path
    """The auditor's copy of the operator's public key."""

    def records(self) -> list[Json]:
        """The ledger as etcd holds it, in its order."""
        held = self.plane.etcd.under(RECORDS).values()
        return [dict(one) for one in ordered(json.loads(value) for value in held)]

    def write(self, record: Json) -> None:
        """Put a record into etcd in place of what is there."""
        self.plane.etcd.write(RECORDS + record["metadata"]["name"], json.dumps(record).encode())

    def put_back(self) -> None:
        for key, value in self.kept.items():
            self.plane.etcd.write(key, value)


@pytest.fixture(scope="module")
def untouched(alone: World, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Asked, approved by two people, counted and recorded; the operator's part is done by its own functions."""
    alone.create("engineer", alone.release(RELEASE), dry_run=False).passes()
    say_phase(alone, RELEASE, "PendingApproval", releaseDigest=DIGEST)
    release = alone.kubectl("admin", "get", "modelrelease", RELEASE, "-n", TEAM, "-o", "json").passes()
    subject = {"kind": "ModelRelease", "name": RELEASE, "uid": json.loads(release.out)["metadata"]["uid"]}
    decisions = [alone.approval("ravi", RISK, subjectRef=subject)]
    decisions.append(alone.approval("cora", COMPLIANCE, role="compliance", subjectRef=subject))
    for role, decision in zip(("reviewer-risk", "reviewer-compliance"), decisions, strict=True):
        alone.create(role, decision, dry_run=False).passes()
    key = new_key()
    asyncio.run(count_and_record(plane.kubeconfig("operator"), KeyRing(key)))
    say_phase(alone, RELEASE, "Approved", approvedTime=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    file = tmp_path_factory.mktemp("auditor") / "key.pem"
    file.write_text(key.public.pem)
    return Story(alone, plane, decisions[0]["metadata"]["name"], plane.etcd.under(OBJECTS), file)


async def count_and_record(kubeconfig: str, ring: KeyRing) -> None:
    """Count the approvals of the release, record them and sign the ledger."""
    async with await KubeClient.connect(kubeconfig) as kube:
        live = await kube.get(ObjectRef("tunegate.io/v1alpha1", "ModelRelease", RELEASE, TEAM))
        release = ModelRelease.model_validate(live)
        approvals = (await read_approvals(kube, release)).approvals
        backed = await still_backed(kube, release, approvals, DIGEST)
        requester = account(release.spec.requested_by)
        asked = Question(release.uid, DIGEST, frozenset({requester}), ROLES, timedelta(days=1))
        verdict = count(asked, votes(approvals, ROLES, backed, ()), datetime.now(UTC))
        assert verdict.outcome == "Quorum", verdict
        writer, subject = LedgerWriter(kube), ledger_entries.subject_of(release)
        await writer.append(AuditEntry("ReleaseRequested", requester.username, subject, "statement"))
        for entry in [*recorded(subject, approvals), ledger_entries.approved(release, DIGEST, verdict)]:
            await writer.append(entry)
        await writer.seal(ring)


@pytest.fixture
def story(untouched: Story) -> Iterator[Story]:
    """The same for each test."""
    yield untouched
    untouched.put_back()
    untouched.world.kubectl("admin", "apply", "-f", "-", stdin=as_list(render(TEAM))).passes()


Verify = Callable[[], tuple[int, str]]


@pytest.fixture
def verify(story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Export as the auditor, then verify the files alone; returns the status and what was said."""

    def verified() -> tuple[int, str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        main(["--kubeconfig", story.plane.kubeconfig("auditor"), "audit", "export", str(folder)])
        capsys.readouterr()
        files = ["--file", str(folder / "records.jsonl"), "--objects", str(folder / "objects.json")]
        code = main(["audit", "verify", *files, "--public-key", str(story.key)])
        return code, capsys.readouterr().out

    return verified


@pytest.mark.attack(38)
def test_what_a_cluster_admin_deletes_and_writes_into_etcd_is_named_offline(story: Story, verify: Verify) -> None:
    world, delete = story.world, ("delete", "approval", story.approval, "-n", TEAM)
    refused = "approvals are never deleted"
    until(lambda: refused in world.kubectl(ADMIN, *delete, "--dry-run=server").err)
    code, said = verify()
    assert (code, "ledger intact: 5 records" in said) == (0, True), said

    world.kubectl(ADMIN, "delete", "validatingadmissionpolicybindings", "--all").passes()
    until(lambda: world.kubectl(ADMIN, *delete).code == 0)
    record = next(one for one in story.records() if one["spec"]["type"] == "ReleaseApproved")
    name, change = record["metadata"]["name"], {"approvers": "mara (risk), cora (compliance)"}
    by_api = ("patch", "auditrecord", name, "--type=merge", "-p", json.dumps({"spec": {"payload": change}}))
    world.kubectl(ADMIN, *by_api).refused("cannot change after creation")
    record["spec"]["payload"].update(change)
    story.write(record)
    assert "mara" in world.kubectl(ADMIN, "get", "auditrecord", name, "-o", "json").passes().out

    code, said = verify()
    assert code == 1
    assert f"BROKEN {name} ({record['spec']['time']}): hash does not fit the content" in said
    assert f"Approval {TEAM}/{story.approval} is gone" in said
    assert "2 problems in 5 records" in said

    story.put_back()
    code, said = verify()
    assert (code, "ledger intact: 5 records" in said) == (0, True), said


@pytest.mark.attack(38)
def test_a_ledger_that_is_written_anew_in_etcd_with_hashes_that_fit_is_named_offline(
    story: Story, verify: Verify
) -> None:
    previous = ""
    for record in story.records():
        spec = record["spec"]
        if spec["type"] == "ReleaseApproved":
            spec["payload"]["approvers"] = "mara (risk), cora (compliance)"
        spec["previousHash"] = previous or spec["previousHash"]
        previous = spec["hash"] = chain.content_hash(spec)
        story.write(record)

    code, said = verify()
    assert code == 1
    assert "signed for another history" in said
    assert "Nothing in it is proven by the given keys." in said
