"""What reviewers read and auditors take along: answers, data, and a folder with all evidence, from the real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import answered
from tests.support.builders import make_finetunejob
from tests.support.command_line import Cli, get, say
from tests.support.governed_namespace import World
from tests.support.registry_process import RunningRegistry
from tests.support.release_cluster import ANSWERS, PAGE, STATEMENT, Settle
from tests.support.released_adapter import KEY, documents
from tests.support.stage_documents import baselined
from tunegate.api.stage.layout import ANSWERS_MEDIA_TYPE, RESULT_MEDIA_TYPE
from tunegate.cli.main import main
from tunegate.digests import canonical
from tunegate.reconcile.naming import job_repository
from tunegate.registry.client import RegistryClient

pytestmark = pytest.mark.cluster
Json = dict[str, Any]


async def test_a_reviewer_reads_the_answers_of_the_gate(
    world: World, cli: Cli, job: str, registry: RunningRegistry
) -> None:
    where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
    assert cli.run("reviewer-risk", "inspect", "answers", "job/job", *where, "-o", "json") == ANSWERS.decode()
    shown = cli.run("reviewer-risk", "inspect", "answers", "job/job", *where)
    assert "Question 12 wrong" in shown
    assert "2 more: --all" in shown
    assert "Question 11 " in cli.run("reviewer-risk", "inspect", "answers", "job/job", *where, "--all")
    unknown = cli.run("reviewer-risk", "inspect", "answers", "job/job", *where, "--against", "Regex", code=1)
    assert "--against Regex: the alternatives are BasePlain" in unknown
    away = ("--registry", "127.0.0.1:1", "--registry-plain-http", "--registry-auth", "/nonexistent")
    assert "the registry" in cli.run("reviewer-risk", "inspect", "answers", "job/job", *away, code=1)


def test_of_a_job_that_was_never_evaluated_the_alternatives_are_read(
    world: World, cli: Cli, catalogue: dict[str, Json], registry: RunningRegistry
) -> None:
    where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
    person = {"username": "erin", "groups": ["tunegate:engineers"]}
    world.create("engineer", make_finetunejob("prompted", world.namespace, requestedBy=person), dry_run=False).passes()
    assert "job prompted has no answers" in cli.run(
        "reviewer-risk", "inspect", "answers", "job/prompted", *where, code=1
    )

    uid = str(json.loads(get(world, "FineTuneJob", "prompted"))["metadata"]["uid"])
    repository = job_repository(world.namespace, "prompted", uid)
    with RegistryClient(registry.host, plain_http=True) as client:
        kept = answered(3, ("BasePlain", "BaseFewShot"))
        said = client.push_document(f"{repository}/answers", kept, ANSWERS_MEDIA_TYPE)
        found = baselined("PromptingSuffices").model_copy(update={"answers_digest": said})
        result = client.push_document(f"{repository}/results", canonical(found.to_dict()), RESULT_MEDIA_TYPE)
    stage = {"name": "Baseline", "state": "Done", "attempt": 1, "resultDigest": result}
    say(world, "finetunejob", "prompted", {"phase": "Failed", "stages": [stage]})

    shown = cli.run("reviewer-risk", "inspect", "answers", "job/prompted", *where)
    assert "BaseFewShot  0.125" in shown
    assert "Question 3 wrong" in shown
    assert "Tuned" not in shown


@pytest.mark.parametrize("part", ["answers", "data"])
def test_a_job_is_named_with_its_kind_and_a_release_without(
    cli: Cli, job: str, registry: RunningRegistry, part: str
) -> None:
    where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")

    bare = cli.run("reviewer-risk", "inspect", part, "job", *where, code=1)
    assert "ModelRelease job does not exist" in bare
    assert "there is job/job" in bare
    assert "FineTuneJob no-such does not exist" in cli.run(
        "reviewer-risk", "inspect", part, "job/no-such", *where, code=1
    )
    other = cli.run("reviewer-risk", "inspect", part, "server/server", *where, code=2)
    assert "expected release/NAME or job/NAME; a bare NAME is a release" in other


def test_what_was_stated_of_the_data_is_read_in_every_form(cli: Cli, job: str, registry: RunningRegistry) -> None:
    where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
    shown = cli.run("reviewer-risk", "inspect", "data", "job/job", *where)
    assert "notices of packages" in shown
    assert "2 rows repeat" in shown
    assert cli.run("reviewer-risk", "inspect", "data", "job/job", *where, "-o", "json") == STATEMENT.decode() + "\n"
    assert (
        json.loads(cli.run("reviewer-risk", "inspect", "data", "job/job", *where, "-o", "croissant"))["license"]
        == "MIT"
    )
    assert cli.run("reviewer-risk", "inspect", "data", "job/job", *where, "-o", "html") == PAGE.decode()


async def test_release_is_taken_along_as_a_folder_and_verified_without_the_cluster(
    world: World,
    cli: Cli,
    catalogue: dict[str, Json],
    settle_signed: Settle,
    registry: RunningRegistry,
    tmp_path: Path,
) -> None:
    settle = settle_signed
    person = {"username": "erin", "groups": ["tunegate:engineers"]}
    made = make_finetunejob("sealed", world.namespace, requestedBy=person)
    world.create("engineer", made, dry_run=False).passes()
    live = json.loads(get(world, "FineTuneJob", "sealed"))
    repository = job_repository(world.namespace, "sealed", live["metadata"]["uid"])
    left = documents(catalogue, live, repository)
    with RegistryClient(registry.host, plain_http=True) as client:
        left.push(client, repository, job_repository(world.namespace, "earlier", "12345678"))
    say(world, "finetunejob", "sealed", left.status)
    asked = ("create", "release", "taken", "--from-job", "sealed", "--model", "extractor", "--risk", "Low")
    cli.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    await settle("taken")
    cli.run("reviewer-risk", "approve", "taken", "--reason", "report was read", "--yes")
    cli.run("reviewer-compliance", "approve", "taken", "--reason", "data was read", "--yes")
    assert (await settle("taken"))["phase"] == "Approved"

    where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
    folder = tmp_path / "taken"
    told = cli.run("auditor", "evidence", "export", "taken", str(folder), *where)
    noted = next(line.split()[1:] for line in told.splitlines() if line.startswith("  tunegate evidence verify"))
    assert main(noted) == 0
    shown = cli.capsys.readouterr().out
    assert f"evidence of {world.namespace}/taken fits" in shown
    assert "ravi (risk)" in shown
    assert "Signatures were not checked" in shown
    assert KEY.public.id in (folder / "signatures/release.dsse.json").read_text()
    assert "EvidenceSealed" in cli.run("auditor", "describe", "taken", "-o", "json")
    page = folder / "approvals.jsonl"
    page.write_bytes(page.read_bytes().replace(b"data was read", b"data was fine"))
    assert main(noted) == 1
    assert "DIFFERS approvals.jsonl" in cli.capsys.readouterr().out
    assert "not empty" in cli.run("auditor", "evidence", "export", "taken", str(folder), *where, code=1)
    other = (str(tmp_path / "hers"), *where)
    hers = cli.run("engineer", "evidence", "export", "taken", *other, code=1)
    assert "auditrecords" in hers
    assert "auditors may" in hers
    assert not (tmp_path / "hers").exists()
