"""Jobs on the command line against the real server: submitted, listed, waived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import release_evidence
from tests.support.builders import make_finetunejob
from tests.support.command_line import Cli, say
from tests.support.governed_namespace import World

pytestmark = pytest.mark.cluster
Json = dict[str, Any]


def test_lists_show_what_a_person_may_read(cli: Cli, job: str) -> None:
    assert "Succeeded" in cli.run("engineer", "get", "jobs")
    assert "you may not list finetunejobs" in cli.run("outsider", "get", "jobs", code=1)


def test_submit_checks_every_document_before_it_creates_one(cli: Cli, world: World, tmp_path: Path) -> None:
    good = make_finetunejob("first", world.namespace)
    bad = make_finetunejob("second", world.namespace, learningRate="1")
    for one in (good, bad):
        del one["spec"]["requestedBy"]
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump_all([good, bad]))
    assert 'unknown field "spec.learningRate"' in cli.run("engineer", "create", "job", "-f", str(path), code=1)
    assert world.kubectl("engineer", "get", "finetunejob", "first", "-n", world.namespace).code != 0


def test_submit_in_another_name_shows_the_line_to_paste(cli: Cli, world: World, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(make_finetunejob("forged", world.namespace, requestedBy={"username": "ravi"})))
    refusal = cli.run("engineer", "create", "job", "-f", str(path), code=1)
    assert refusal.startswith("tunegate: spec.requestedBy must be you")
    assert 'requestedBy: {username: "erin", groups: ["tunegate:engineers"]}' in refusal


def test_a_reviewer_sees_the_findings_of_a_job_and_waives_them(
    world: World, cli: Cli, catalogue: dict[str, Json]
) -> None:
    small = make_finetunejob(
        "small", world.namespace, requestedBy={"username": "erin", "groups": ["tunegate:engineers"]}
    )
    world.create("engineer", small, dry_run=False).passes()
    refused = cli.run("reviewer-risk", "approve", "job/small", "--reason", "few rows will do", "--yes", code=1)
    assert "does not wait for a waiver" in refused
    rule = {"name": "risk", "minApprovals": 1, "groups": ["tunegate:model-risk"], "findings": ["MinimumExamples"]}
    few = {"check": "MinimumExamples", "count": 37, "message": "37 usable examples, Format needs 200."}
    waiver = {
        "digest": release_evidence.digest("7"), "findings": [few], "rules": [rule], "missing": [{"role": "risk", "missing": 1}],
    }  # fmt: skip
    say(world, "finetunejob", "small", {"phase": "PendingWaiver", "waiver": waiver})

    (waiting,) = [
        one for one in json.loads(cli.run("reviewer-risk", "get", "jobs", "-o", "json")) if one["name"] == "small"
    ]
    assert waiting["waitsFor"] == "risk (you)"
    assert "37 usable examples" in cli.run("reviewer-risk", "describe", "job/small")
    shown = cli.run("reviewer-risk", "approve", "job/small", "--reason", "few rows will do", "--yes")
    assert "37 usable examples" in shown
    assert release_evidence.digest("7") in shown
    approvals = json.loads(world.kubectl("admin", "get", "approvals", "-n", world.namespace, "-o", "json").passes().out)
    made = next(one["spec"] for one in approvals["items"] if one["spec"]["subjectRef"]["kind"] == "FineTuneJob")
    assert (made["subjectRef"]["name"], made["subjectDigest"]) == ("small", release_evidence.digest("7"))
    assert (made["role"], made["approver"]["username"]) == ("risk", "ravi")
    revoked = cli.run("reviewer-risk", "revoke", "job/small", "--reason", "not wanted any more", "--yes", code=1)
    assert "only a release can be revoked" in revoked


def test_a_rejected_waiver_shows_who_rejected_it_and_why(world: World, cli: Cli, catalogue: dict[str, Json]) -> None:
    """The reject waits for no role any more, and is no approval that does not count."""
    made = make_finetunejob(
        "unfit", world.namespace, requestedBy={"username": "erin", "groups": ["tunegate:engineers"]}
    )
    world.create("engineer", made, dry_run=False).passes()
    rule = {"name": "risk", "minApprovals": 1, "groups": ["tunegate:model-risk"], "findings": ["MinimumExamples"]}
    few = {"check": "MinimumExamples", "count": 37, "message": "37 usable examples, Format needs 200."}
    waiver = {
        "digest": release_evidence.digest("7"), "findings": [few], "rules": [rule], "approvals": "0/1",
        "missing": [{"role": "risk", "missing": 1}],
    }  # fmt: skip
    say(world, "finetunejob", "unfit", {"phase": "PendingWaiver", "waiver": waiver})
    assert "waits for 1 of role risk (groups tunegate:model-risk)" in cli.run("reviewer-risk", "describe", "job/unfit")
    cli.run("reviewer-risk", "reject", "job/unfit", "--reason", "the rows are too few by far", "--yes")
    ended = {
        "type": "Waived", "status": "False", "reason": "WaiverRejected", "message": "Refused by ravi",
        "lastTransitionTime": "2026-11-26T15:00:00Z",
    }  # fmt: skip
    say(world, "finetunejob", "unfit", {"phase": "Failed", "conditions": [ended]})
    shown = cli.run("engineer", "describe", "job/unfit")
    (line,) = [one for one in shown.splitlines() if "the rows are too few by far" in one]
    assert "ravi" in line
    assert "it decided" in line
    assert "waits for" not in shown
    assert "is decided" in cli.run("reviewer-risk", "approve", "job/unfit", "--reason", "fine", "--yes", code=1)
