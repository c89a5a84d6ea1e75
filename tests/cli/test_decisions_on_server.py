"""The command line against the real server: four people take one release from a job to Approved, and one takes it down.

Each uses their own kubeconfig.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.support import release_evidence
from tests.support.builders import make_finetunejob, open_route
from tests.support.command_line import Cli, get, say
from tests.support.governed_namespace import World
from tests.support.registry_process import RunningRegistry
from tests.support.release_cluster import Settle

pytestmark = pytest.mark.cluster


async def test_release_is_asked_for_reviewed_approved_and_revoked(
    world: World, cli: Cli, job: str, settle: Settle, registry: RunningRegistry, tmp_path: Path
) -> None:
    asked = ("create", "release", "extractor-1", "--from-job", "job", "--model", "extractor", "--risk", "Low")
    use = ("--intended-use", "Extract holder and years; not for legal advice.")
    told = cli.run("engineer", *asked, *use)
    assert f"ModelRelease {world.namespace}/extractor-1 created" in told
    assert f"ModelRelease {world.namespace}/extractor-1, requested by erin (tunegate:engineers)" in told
    status = await settle("extractor-1")
    assert (status["phase"], status["approvals"]) == ("PendingApproval", "0/2")
    digest = status["releaseDigest"]

    shown = cli.run(
        "reviewer-risk", "approve", "extractor-1", "--reason", "report was read", "--yes", "--digest", digest
    )
    assert digest in shown
    assert "requested by  erin" in shown
    recorded = shown[shown.index("Recorded forever, in your name") :]
    assert "ravi (tunegate:model-risk)" in recorded
    assert "report was read" in recorded
    assert "what serves by then goes on serving" in recorded
    assert (await settle("extractor-1"))["approvals"] == "1/2"

    wrong = cli.run("reviewer-compliance", "approve", "extractor-1", "--role", "risk", "--reason", "x", "--yes", code=1)
    assert "role risk is not yours" in wrong
    other = ("--digest", release_evidence.digest("0"))
    assert "nothing was recorded" in cli.run(
        "reviewer-compliance", "approve", "extractor-1", "--reason", "x", "--yes", *other, code=1
    )
    mine = cli.run("engineer", "approve", "extractor-1", "--role", "risk", "--reason", "x", "--yes", code=1)
    assert "role risk is not yours" in mine
    cli.run("reviewer-compliance", "approve", "extractor-1", "--reason", "data was read", "--expires", "30m", "--yes")
    status = await settle("extractor-1")
    assert status["phase"] == "Approved"
    assert {one["username"]: one["role"] for one in status["counted"]} == {"ravi": "risk", "cora": "compliance"}

    page = json.loads(
        cli.run(
            "auditor", "describe", "extractor-1", "-o", "json", "--registry", registry.host, "--registry-plain-http",
            "--registry-auth", "/nonexistent",
        )
    )  # fmt: skip
    assert page["statement"]["verified"]
    assert page["statement"]["content"]["release"]["spec"]["intendedUse"].startswith("Extract holder")
    assert page["data"]["digest"] == release_evidence.digest("d")
    assert page["baseModel"]["manifestDigest"] == release_evidence.digest("b")
    assert {one["by"] for one in page["approvals"]} == {"ravi", "cora"}
    assert [one["type"] for one in page["ledger"]] == [
        "ReleaseRequested", "ApprovalRecorded", "ApprovalRecorded", "ReleaseApproved",
    ]  # fmt: skip
    assert [one["message"] for one in page["findings"]] == ["2 rows repeat"]
    assert digest in cli.run("auditor", "describe", "extractor-1")
    # The records alone: in this cluster other tests forge objects, which the whole command would name.
    cli.run("auditor", "audit", "export", str(tmp_path / "ledger"))
    records = tmp_path / "ledger/records.jsonl"
    assert "ledger intact" in cli.run("auditor", "audit", "verify", "--file", str(records))

    cli.run("serving-operator", "revoke", "extractor-1", "--reason", "wrong answers in production", "--yes")
    status = await settle("extractor-1")
    assert status["phase"] == "Revoked"
    assert "Revoked" in cli.run("reviewer-risk", "describe", "extractor-1")


async def test_policies_of_two_releases_are_compared_by_their_statements(
    world: World,
    cli: Cli,
    job: str,
    settle: Settle,
    registry: RunningRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reviewer may not read the ledger, which names the policies; with the registry the statements do."""
    for name in ("first", "second"):
        asked = ("create", "release", name, "--from-job", "job", "--model", "compared", "--risk", "Low")
        cli.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    served = (await settle("first"))["servedName"]
    await settle("second")
    say(world, "modelserver", "server", {"routes": [open_route("compared", served, "first")]})
    try:
        unseen = cli.run("reviewer-risk", "describe", "second")
        where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
        seen = cli.run("reviewer-risk", "describe", "second", *where)
        (tmp_path / "config.yaml").write_text("registry: {host: '127.0.0.1:1', plainHTTP: true}")
        monkeypatch.setenv("TUNEGATE_CONFIG", str(tmp_path / "config.yaml"))
        away = cli.run("reviewer-risk", "describe", "release/second")
    finally:
        say(world, "modelserver", "server", {"routes": []})
    assert "policy: you may not read it" in unseen
    assert "policy: you may not read it" in away
    assert "The page is shown without what the registry holds" in away
    assert "policy: you may not read it" not in seen
    assert "  nothing differs" in seen


async def test_rejected_release_is_denied_for_good(world: World, cli: Cli, job: str, settle: Settle) -> None:
    asked = ("create", "release", "extractor-2", "--from-job", "job", "--model", "extractor", "--risk", "High")
    cli.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    digest = (await settle("extractor-2"))["releaseDigest"]
    cli.run("reviewer-compliance", "reject", "extractor-2", "--reason", "the licence of the data is unclear", "--yes")
    assert (await settle("extractor-2"))["phase"] == "Denied"
    late = cli.run("reviewer-risk", "approve", "extractor-2", "--reason", "fine", "--yes", code=1)
    assert "extractor-2 is Denied, for good" in late
    uid = json.loads(get(world, "ModelRelease", "extractor-2"))["metadata"]["uid"]
    subject = {"kind": "ModelRelease", "name": "extractor-2", "uid": uid}
    given = world.approval("ravi", "tunegate:model-risk", subjectRef=subject, role="risk", subjectDigest=digest)
    world.create("reviewer-risk", given, dry_run=False).passes()
    assert (await settle("extractor-2"))["phase"] == "Denied"
    page = json.loads(cli.run("reviewer-risk", "describe", "extractor-2", "-o", "json"))
    assert {(one["by"], one["decision"], one["counted"]) for one in page["approvals"]} == {
        ("cora", "Reject", "it decided"), ("ravi", "Approve", "yes"),
    }  # fmt: skip
    assert page["quorum"]["missing"] == []
    assert "waits for" not in cli.run("reviewer-risk", "describe", "extractor-2")


async def test_release_of_a_job_that_the_registry_has_no_result_of_waits(
    world: World, cli: Cli, settle: Settle
) -> None:
    document = make_finetunejob("empty", world.namespace, requestedBy={"username": "erin"})
    world.create("engineer", document, dry_run=False).passes()
    cli.run(
        "engineer",
        "create",
        "release",
        "--from-job",
        "empty",
        "--model",
        "m",
        "--risk",
        "Low",
        "--intended-use",
        "Nothing yet, only a test.",
    )
    status = await settle("empty")
    assert status["phase"] == "PendingEvidence"
    assert "approve" not in status["message"]


async def test_decision_without_yes_needs_somebody_at_the_terminal(
    cli: Cli, world: World, job: str, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("create", "release", "extractor-3", "--from-job", "job", "--model", "extractor", "--risk", "Low")
    cli.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    await settle("extractor-3")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "give --yes" in cli.run("reviewer-risk", "approve", "extractor-3", "--reason", "x", code=1)
    approvals = world.kubectl("reviewer-risk", "get", "approvals", "-n", world.namespace, "-o", "name").passes().out
    assert "extractor-3" not in approvals


def test_decision_on_a_release_that_does_not_exist_says_so(cli: Cli) -> None:
    refusal = cli.run("reviewer-risk", "approve", "no-such-release", "--reason", "x", code=1)
    assert "ModelRelease no-such-release does not exist" in refusal


async def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(cli: Cli, job: str, settle: Settle) -> None:
    asked = ("create", "release", "extractor-4", "--from-job", "job", "--model", "extractor", "--risk", "Low")
    cli.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    assert "there is release/extractor-4" in cli.run("reviewer-risk", "describe", "extracter-4", code=1)
    assert "there is job/job" in cli.run("reviewer-risk", "approve", "job", "--reason", "x", code=1)
