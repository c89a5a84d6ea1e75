"""The command line against the real server: four people take one release from a job to Approved, and one takes it down.

Each uses their own kubeconfig; the release controller runs in this process, as the operator's service account, with a
real registry. What the job and the catalogue say is written as the operator would write it.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from tests.builders import make_basemodel, make_evaluationsuite, make_finetunejob, make_modelserver
from tests.cli.desk import Desk, get, say
from tests.evidence.release import KEY, documents
from tests.governance import evidence
from tests.governance.governed import OPERATOR, World
from tests.job.documents import validated
from tests.registry.registry_process import RunningRegistry, running_registry
from tests.statements import data_statement
from tunegate.api.stages import (
    ANSWERS_MEDIA_TYPE,
    DATA_PAGE_MEDIA_TYPE,
    DATA_STATEMENT_MEDIA_TYPE,
    RESULT_MEDIA_TYPE,
    Finding,
)
from tunegate.cli.main import main
from tunegate.controllers.modelrelease import ModelReleaseController
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.digests import canonical
from tunegate.kube.client import KubeClient, ObjectKey
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.naming import job_repository
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
ANSWERS = b"""\
{"normalization": "1", "questions": 1, "arms": ["Tuned"]}
{"arm": "Tuned", "question": 7, "group": "7", "answer": "{\\"holder\\": \\"Ann\\"}\\u001b[2J", "finish": "stop", "shortened": false}
"""
STATEMENT = canonical(data_statement().to_dict())
PAGE = b"<!doctype html>\n<p>rows</p>\n"


@pytest.fixture
def desk(world: World, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(world, capsys)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def catalogue(world: World) -> Iterator[dict[str, Json]]:
    """Base model, server, suite and policy of this namespace, with the status that their stages would have given."""
    name = world.namespace
    made = {
        "BaseModel": make_basemodel(name),
        "ModelServer": make_modelserver("server", name, baseModelRef=name),
        "EvaluationSuite": make_evaluationsuite("suite", name),
        "ApprovalPolicy": {
            "apiVersion": "tunegate.io/v1alpha1",
            "kind": "ApprovalPolicy",
            "metadata": {"name": name},
            "spec": {
                "roles": [
                    {"name": "risk", "groups": ["tunegate:model-risk"]},
                    {"name": "compliance", "groups": ["tunegate:compliance"]},
                ],
                "allowedData": ["Public"],
                "maxApprovalAgeSeconds": 3600,
                "breakGlass": {"role": "break-glass", "groups": ["tunegate:serving-operators"], "maxSeconds": 3600},
            },
        },
    }
    try:
        for obj in made.values():
            world.create("admin", obj, dry_run=False).passes()
        ready = {"phase": "Ready", "manifestDigest": evidence.digest("b")}
        deadline = time.monotonic() + 20
        stable = 0
        while stable < 3:  # an operator of the cluster may just have looked at the new BaseModel, too
            found = say(world, "basemodel", name, ready)
            stable = stable + 1 if found else 0
            assert time.monotonic() < deadline
            time.sleep(0.3)
        read = {kind: json.loads(get(world, kind, obj["metadata"]["name"])) for kind, obj in made.items()}
        yield read
    finally:
        for kind in ("basemodel", "approvalpolicy"):
            world.kubectl("admin", "delete", kind, name, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def job(
    world: World, catalogue: dict[str, Json], registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A job that erin submitted with the command line, and that then passed its gate."""
    document = make_finetunejob("job", world.namespace)
    del document["spec"]["requestedBy"]
    del document["metadata"]["namespace"]
    path = tmp_path_factory.mktemp("yaml") / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    arguments = ["--kubeconfig", world.kubeconfig("engineer"), "submit", "-n", world.namespace, "-f", str(path)]
    assert main(arguments) == 0
    live = json.loads(get(world, "FineTuneJob", "job"))
    assert live["spec"]["requestedBy"]["username"] == "erin"
    repository = job_repository(world.namespace, "job", live["metadata"]["uid"])
    with RegistryClient(registry.host, plain_http=True) as client:
        said = client.push_document(f"{repository}/answers", ANSWERS, ANSWERS_MEDIA_TYPE)
        evaluation = evidence.evaluation(catalogue, answersDigest=said)
        result = client.push_document(f"{repository}/results", canonical(evaluation), RESULT_MEDIA_TYPE)
        stated = client.push_document(f"{repository}/results", STATEMENT, DATA_STATEMENT_MEDIA_TYPE)
        page = client.push_document(f"{repository}/data", PAGE, DATA_PAGE_MEDIA_TYPE)
        twice = Finding(check="Duplicates", action="Warn", count=2, rows=["7", "9"], message="2 rows repeat")
        found = validated(statement_digest=stated, page_digest=page, findings=[twice]).to_dict()
        checked = client.push_document(f"{repository}/results", canonical(found), RESULT_MEDIA_TYPE)
    status = evidence.job_status(catalogue, result)
    status["stages"].append({"name": "validate", "state": "Done", "attempt": 1, "resultDigest": checked})
    status["dataset"]["statementDigest"] = stated
    say(world, "finetunejob", "job", status)
    return str(live["metadata"]["uid"])


@pytest.fixture
async def settle(
    world: World, registry: RunningRegistry, kubeconfig: Callable[[str], str]
) -> AsyncIterator[Callable[[str], Any]]:
    """Return a function that reconciles a release until nothing more is to be done and returns its status."""
    async with reconciling(world, registry, kubeconfig, None) as run:
        yield run


@pytest.fixture
async def settle_signed(
    world: World, registry: RunningRegistry, kubeconfig: Callable[[str], str]
) -> AsyncIterator[Callable[[str], Any]]:
    """The same of an operator that has a key."""
    async with reconciling(world, registry, kubeconfig, KeyRing(KEY)) as run:
        yield run


@asynccontextmanager
async def reconciling(
    world: World, registry: RunningRegistry, kubeconfig: Callable[[str], str], keys: KeyRing | None
) -> AsyncIterator[Callable[[str], Any]]:
    configuration = Configuration()
    await config.load_kube_config(kubeconfig("admin"), client_configuration=configuration, persist_config=False)
    api = ApiClient(configuration)
    api.set_default_header("Impersonate-User", OPERATOR)
    api.set_default_header("Impersonate-Group", "system:masters")
    settings = Settings(
        governed=(GovernedNamespace(name=world.namespace, policy=world.namespace),),
        trainer_image="none", operator_image="none", registry_host=registry.host, registry_plain_http=True,
    )  # fmt: skip
    async with KubeClient(api) as kube:
        with RegistryClient(registry.host, plain_http=True) as client:
            ledger = LedgerWriter(kube)
            services = Services(kube=kube, settings=settings, registry=client, ledger=ledger, tracking=None, keys=keys)
            worker = Worker(ModelReleaseController(services), kube, ledger)

            async def run(name: str) -> Json:
                for _ in range(10):
                    outcome = await worker.run(ObjectKey(world.namespace, name))
                    assert outcome.result == "done", outcome
                    if outcome.after is None or outcome.after > 1:
                        return dict(json.loads(get(world, "ModelRelease", name)).get("status", {}))
                    await asyncio.sleep(outcome.after)
                raise AssertionError("does not settle")

            yield run


async def test_release_is_asked_for_reviewed_approved_and_revoked(
    world: World, desk: Desk, job: str, settle: Any, registry: RunningRegistry
) -> None:
    asked = ("release", "job", "--model", "extractor", "--risk", "Low", "--name", "extractor-1")
    use = ("--intended-use", "Extract holder and years; not for legal advice.")
    told = desk.run("engineer", *asked, *use)
    assert f"ModelRelease {world.namespace}/extractor-1 created" in told
    assert f"ModelRelease {world.namespace}/extractor-1, requested by erin (tunegate:engineers)" in told
    status = await settle("extractor-1")
    assert (status["phase"], status["approvals"]) == ("PendingApproval", "0/2")
    digest = status["releaseDigest"]

    shown = desk.run(
        "reviewer-risk", "approve", "extractor-1", "--reason", "report was read", "--yes", "--digest", digest
    )
    assert digest in shown
    assert "requested by  erin" in shown
    recorded = shown[shown.index("Recorded for ever, in your name") :]
    assert "ravi (tunegate:model-risk)" in recorded
    assert "report was read" in recorded
    assert "what serves by then goes on serving" in recorded
    assert (await settle("extractor-1"))["approvals"] == "1/2"

    wrong = desk.run(
        "reviewer-compliance", "approve", "extractor-1", "--role", "risk", "--reason", "x", "--yes", code=1
    )
    assert "role risk is not yours" in wrong
    other = ("--digest", evidence.digest("0"))
    assert "nothing was recorded" in desk.run(
        "reviewer-compliance", "approve", "extractor-1", "--reason", "x", "--yes", *other, code=1
    )
    mine = desk.run("engineer", "approve", "extractor-1", "--role", "risk", "--reason", "x", "--yes", code=1)
    assert "role risk is not yours" in mine
    desk.run("reviewer-compliance", "approve", "extractor-1", "--reason", "data was read", "--expires", "30m", "--yes")
    status = await settle("extractor-1")
    assert status["phase"] == "Approved"
    assert {one["username"]: one["role"] for one in status["counted"]} == {"ravi": "risk", "cora": "compliance"}

    page = json.loads(
        desk.run(
            "auditor", "show", "extractor-1", "-o", "json", "--registry", registry.host, "--registry-plain-http",
            "--registry-auth", "/nonexistent",
        )
    )  # fmt: skip
    assert page["statement"]["verified"]
    assert page["statement"]["content"]["release"]["spec"]["intendedUse"].startswith("Extract holder")
    assert page["data"]["digest"] == evidence.digest("d")
    assert page["baseModel"]["manifestDigest"] == evidence.digest("b")
    assert {one["by"] for one in page["approvals"]} == {"ravi", "cora"}
    assert [one["type"] for one in page["ledger"]] == [
        "ReleaseRequested", "ApprovalRecorded", "ApprovalRecorded", "ReleaseApproved",
    ]  # fmt: skip
    assert [one["message"] for one in page["findings"]] == ["2 rows repeat"]
    assert digest in desk.run("auditor", "show", "extractor-1")
    assert "ledger intact" in desk.run("auditor", "audit", "verify")

    desk.run("serving-operator", "revoke", "extractor-1", "--reason", "wrong answers in production", "--yes")
    status = await settle("extractor-1")
    assert status["phase"] == "Revoked"
    assert "Revoked" in desk.run("reviewer-risk", "show", "extractor-1")


async def test_policies_of_two_releases_are_compared_by_their_statements(
    world: World, desk: Desk, job: str, settle: Any, registry: RunningRegistry
) -> None:
    """A reviewer may not read the ledger, which names the policies; with the registry the statements do."""
    for name in ("first", "second"):
        asked = ("release", "job", "--model", "compared", "--risk", "Low", "--name", name)
        desk.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    served = (await settle("first"))["servedName"]
    await settle("second")
    say(world, "modelserver", "server", {"routes": [{"name": "compared", "state": "Open", "servedName": served}]})
    try:
        unseen = desk.run("reviewer-risk", "show", "second")
        where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
        seen = desk.run("reviewer-risk", "show", "second", *where)
    finally:
        say(world, "modelserver", "server", {"routes": []})
    assert "policy: you may not read it" in unseen
    assert "policy: you may not read it" not in seen
    assert "  nothing differs" in seen


@pytest.mark.attack(3)
async def test_own_approval_by_the_requester_and_one_taken_back_do_not_count(
    world: World, desk: Desk, job: str, settle: Any
) -> None:
    """petra holds every right of RBAC: admission lets her, counting does not."""
    document = evidence.release_of({"metadata": {"name": "job", "uid": job}}, world.namespace)
    document["metadata"]["name"] = "hers"
    document["spec"]["requestedBy"] = {"username": "petra", "groups": ["tunegate:platform-admins"]}
    world.create("platform-admin", document, dry_run=False).passes()
    await settle("hers")
    hers = desk.run("platform-admin", "approve", "hers", "--role", "risk", "--reason", "mine", "--yes")
    assert "This may not count: role risk takes members of tunegate:model-risk" in hers
    desk.run("reviewer-risk", "approve", "hers", "--reason", "fine", "--yes")
    taken = desk.run("reviewer-risk", "withdraw", "hers", "--reason", "found a mistake", "--yes")
    assert "counts until" not in taken
    status = await settle("hers")
    assert status["phase"] == "PendingApproval"
    found = {one["username"]: one["reason"] for one in status["dropped"]}
    assert found == {"petra": "NotInRoleGroup", "ravi": "Withdrawn"}


@pytest.mark.attack(25)
async def test_every_approval_that_does_not_count_stands_in_the_status_with_its_reason(
    world: World, desk: Desk, job: str, settle: Any
) -> None:
    """All five are admitted: the people are who they say they are, and hold the right to approve."""
    asked = evidence.release_of({"metadata": {"name": "job", "uid": job}}, world.namespace)
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
    approve("rita", "tunegate:model-risk", "risk", subjectDigest=evidence.digest("0"))
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    approve("rolf", "tunegate:model-risk", "risk", expiresAt=soon)
    await asyncio.sleep(6)
    status = await settle("contested")

    assert (status["phase"], status["approvals"]) == ("PendingApproval", "1/2")
    assert [one["username"] for one in status["counted"]] == ["cora"]
    assert sorted((one["username"], one["reason"]) for one in status["dropped"]) == [
        ("cora", "SamePerson"), ("ravi", "IsRequester"), ("rita", "WrongDigest"), ("rolf", "Expired"),
    ]  # fmt: skip
    page = json.loads(desk.run("auditor", "show", "contested", "-o", "json"))
    assert sorted(one["counted"] for one in page["approvals"]) == [
        "Expired", "IsRequester", "SamePerson", "WrongDigest", "yes",
    ]  # fmt: skip
    assert page["quorum"]["missing"] == [{"role": "risk", "missing": 1, "groups": ["tunegate:model-risk"]}]
    assert "waits for 1 of role risk" in desk.run("auditor", "show", "contested")


@pytest.mark.attack(42)
async def test_an_override_holds_for_its_time_and_a_release_is_overridden_once(
    world: World, desk: Desk, job: str, settle: Any
) -> None:
    """sven holds the verb after a site bound it to him, and no other."""
    asked = evidence.release_of({"metadata": {"name": "job", "uid": job}}, world.namespace)
    asked["metadata"]["name"] = "urgent"
    asked["spec"]["requestedBy"] = {"username": "erin", "groups": ["tunegate:engineers"]}
    world.create("engineer", asked, dry_run=False).passes()
    status = await settle("urgent")
    refused = desk.run("serving-operator", "override", "urgent", "--reason", "production leaks names", "--yes", code=1)
    assert "you hold the verb 'override' on none of the roles break-glass" in refused
    role = f"{world.namespace}-tunegate-break-glass"
    who = ("--clusterrole", role, "--group", "tunegate:serving-operators", "-n", world.namespace)
    world.kubectl("admin", "create", "rolebinding", "duty", *who).passes()

    name = {"subjectRef": {"kind": "ModelRelease", "name": "urgent", "uid": asked_uid(world, "urgent")}}
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20))
    given = {"decision": "Override", "role": "break-glass", "subjectDigest": status["releaseDigest"], "expiresAt": soon}
    decision = world.approval("sven", "tunegate:serving-operators", **name, **given, reason="production leaks names")
    world.create("serving-operator", decision, dry_run=False).passes()
    status = await settle("urgent")
    assert (status["phase"], status["approvals"], status["override"]["until"]) == ("Overridden", "0/2", soon)
    assert status["message"].startswith("BREAK GLASS")
    assert "BREAK GLASS" in desk.run("auditor", "show", "urgent")

    await asyncio.sleep(21)
    status = await settle("urgent")
    assert (status["phase"], status["override"]["outcome"]) == ("PendingApproval", "Expired")
    again = desk.run("serving-operator", "override", "urgent", "--reason", "production leaks names", "--yes")
    assert "Override of" in again
    assert "(role break-glass)" in again
    assert "overridden only once" in (await settle("urgent"))["message"]


def asked_uid(world: World, name: str) -> str:
    return str(json.loads(get(world, "ModelRelease", name))["metadata"]["uid"])


async def test_a_reviewer_reads_the_answers_of_the_gate(
    world: World, desk: Desk, job: str, registry: RunningRegistry
) -> None:
    where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
    assert desk.run("reviewer-risk", "answers", "job", *where, "-o", "json") == ANSWERS.decode()
    shown = desk.run("reviewer-risk", "answers", "job", *where)
    assert r'{"holder": "Ann"}\x1b[2J' in shown, "a model's answer acts on nobody's terminal"
    nothing = desk.run("reviewer-risk", "answers", "job", *where, "--stage", "baseline", code=1)
    assert "has no result of stage baseline" in nothing
    away = ("--registry", "127.0.0.1:1", "--registry-plain-http", "--registry-auth", "/nonexistent")
    assert "the registry" in desk.run("reviewer-risk", "answers", "job", *away, code=1)


def test_what_was_stated_of_the_data_is_read_in_every_form(desk: Desk, job: str, registry: RunningRegistry) -> None:
    where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
    shown = desk.run("reviewer-risk", "data", "job", *where)
    assert "notices of packages" in shown
    assert "2 rows repeat" in shown
    assert desk.run("reviewer-risk", "data", "job", *where, "-o", "json") == STATEMENT.decode() + "\n"
    assert json.loads(desk.run("reviewer-risk", "data", "job", *where, "-o", "croissant"))["license"] == "MIT"
    assert desk.run("reviewer-risk", "data", "job", *where, "-o", "html") == PAGE.decode()


async def test_release_is_taken_along_as_a_folder_and_verified_without_the_cluster(
    world: World, desk: Desk, catalogue: dict[str, Json], settle_signed: Any, registry: RunningRegistry, tmp_path: Path
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
    asked = ("release", "sealed", "--model", "extractor", "--risk", "Low", "--name", "taken")
    desk.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    await settle("taken")
    desk.run("reviewer-risk", "approve", "taken", "--reason", "report was read", "--yes")
    desk.run("reviewer-compliance", "approve", "taken", "--reason", "data was read", "--yes")
    assert (await settle("taken"))["phase"] == "Approved"

    where = ("--registry", registry.host, "--registry-plain-http", "--registry-auth", "/nonexistent")
    folder = tmp_path / "taken"
    told = desk.run("auditor", "evidence", "export", "taken", "--output", str(folder), *where)
    noted = next(line.split()[1:] for line in told.splitlines() if line.startswith("  tunegate evidence verify"))
    assert main(noted) == 0
    shown = desk.capsys.readouterr().out
    assert f"evidence of {world.namespace}/taken fits" in shown
    assert "ravi (risk)" in shown
    assert "Signatures were not checked" in shown
    assert KEY.public.id in (folder / "signatures/release.dsse.json").read_text()
    assert "EvidenceSealed" in desk.run("auditor", "show", "taken", "-o", "json")
    page = folder / "approvals.jsonl"
    page.write_bytes(page.read_bytes().replace(b"data was read", b"data was fine"))
    assert main(noted) == 1
    assert "DIFFERS approvals.jsonl" in desk.capsys.readouterr().out
    assert "not empty" in desk.run("auditor", "evidence", "export", "taken", "--output", str(folder), *where, code=1)
    other = ("--output", str(tmp_path / "hers"), *where)
    hers = desk.run("engineer", "evidence", "export", "taken", *other, code=1)
    assert "auditrecords" in hers
    assert "auditors may" in hers
    assert not (tmp_path / "hers").exists()


async def test_rejected_release_is_denied_for_good(world: World, desk: Desk, job: str, settle: Any) -> None:
    asked = ("release", "job", "--model", "extractor", "--risk", "High", "--name", "extractor-2")
    desk.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    digest = (await settle("extractor-2"))["releaseDigest"]
    desk.run("reviewer-compliance", "reject", "extractor-2", "--reason", "the licence of the data is unclear", "--yes")
    assert (await settle("extractor-2"))["phase"] == "Denied"
    late = desk.run("reviewer-risk", "approve", "extractor-2", "--reason", "fine", "--yes", code=1)
    assert "extractor-2 is Denied, for good" in late
    subject = {"kind": "ModelRelease", "name": "extractor-2", "uid": asked_uid(world, "extractor-2")}
    given = world.approval("ravi", "tunegate:model-risk", subjectRef=subject, role="risk", subjectDigest=digest)
    world.create("reviewer-risk", given, dry_run=False).passes()
    assert (await settle("extractor-2"))["phase"] == "Denied"
    page = json.loads(desk.run("reviewer-risk", "show", "extractor-2", "-o", "json"))
    assert {(one["by"], one["decision"], one["counted"]) for one in page["approvals"]} == {
        ("cora", "Reject", "it decided"), ("ravi", "Approve", "yes"),
    }  # fmt: skip
    assert page["quorum"]["missing"] == []
    assert "waits for" not in desk.run("reviewer-risk", "show", "extractor-2")


async def test_release_of_a_job_that_the_registry_has_no_result_of_waits(world: World, desk: Desk, settle: Any) -> None:
    document = make_finetunejob("empty", world.namespace, requestedBy={"username": "erin"})
    world.create("engineer", document, dry_run=False).passes()
    desk.run(
        "engineer", "release", "empty", "--model", "m", "--risk", "Low", "--intended-use", "Nothing yet, only a test."
    )
    status = await settle("empty")
    assert status["phase"] == "PendingEvidence"
    assert "approve" not in status["message"]


def test_lists_show_what_a_person_may_read(desk: Desk, job: str) -> None:
    assert "Succeeded" in desk.run("engineer", "jobs")
    assert "you may not list finetunejobs" in desk.run("outsider", "jobs", code=1)


def test_submit_checks_every_document_before_it_creates_one(desk: Desk, world: World, tmp_path: Path) -> None:
    good = make_finetunejob("first", world.namespace)
    bad = make_finetunejob("second", world.namespace, learningRate="1")
    for one in (good, bad):
        del one["spec"]["requestedBy"]
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump_all([good, bad]))
    assert 'unknown field "spec.learningRate"' in desk.run("engineer", "submit", "-f", str(path), code=1)
    assert world.kubectl("engineer", "get", "finetunejob", "first", "-n", world.namespace).code != 0


def test_submit_in_another_name_shows_the_line_to_paste(desk: Desk, world: World, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(make_finetunejob("forged", world.namespace, requestedBy={"username": "ravi"})))
    refusal = desk.run("engineer", "submit", "-f", str(path), code=1)
    assert refusal.startswith("tunegate: spec.requestedBy must be you")
    assert 'requestedBy: {username: "erin", groups: ["tunegate:engineers"]}' in refusal


async def test_decision_without_yes_needs_somebody_at_the_terminal(
    desk: Desk, world: World, job: str, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("release", "job", "--model", "extractor", "--risk", "Low", "--name", "extractor-3")
    desk.run("engineer", *asked, "--intended-use", "Extract holder and years; not for legal advice.")
    await settle("extractor-3")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "give --yes" in desk.run("reviewer-risk", "approve", "extractor-3", "--reason", "x", code=1)
    approvals = world.kubectl("reviewer-risk", "get", "approvals", "-n", world.namespace, "-o", "name").passes().out
    assert "extractor-3" not in approvals


def test_decision_on_a_release_that_does_not_exist_says_so(desk: Desk) -> None:
    refusal = desk.run("reviewer-risk", "approve", "no-such-release", "--reason", "x", code=1)
    assert "ModelRelease no-such-release does not exist" in refusal


def test_a_reviewer_sees_the_findings_of_a_job_and_waives_them(
    world: World, desk: Desk, catalogue: dict[str, Json]
) -> None:
    small = make_finetunejob(
        "small", world.namespace, requestedBy={"username": "erin", "groups": ["tunegate:engineers"]}
    )
    world.create("engineer", small, dry_run=False).passes()
    refused = desk.run("reviewer-risk", "approve", "job/small", "--reason", "few rows will do", "--yes", code=1)
    assert "does not wait for a waiver" in refused
    rule = {"name": "risk", "minApprovals": 1, "groups": ["tunegate:model-risk"], "findings": ["MinimumExamples"]}
    few = {"check": "MinimumExamples", "count": 37, "message": "37 usable examples, Format needs 200."}
    waiver = {
        "digest": evidence.digest("7"), "findings": [few], "rules": [rule], "missing": [{"role": "risk", "missing": 1}],
    }  # fmt: skip
    say(world, "finetunejob", "small", {"phase": "PendingWaiver", "waiver": waiver})

    (waiting,) = [one for one in json.loads(desk.run("reviewer-risk", "jobs", "-o", "json")) if one["name"] == "small"]
    assert waiting["waitsFor"] == "risk (you)"
    assert "37 usable examples" in desk.run("reviewer-risk", "show", "job/small")
    shown = desk.run("reviewer-risk", "approve", "job/small", "--reason", "few rows will do", "--yes")
    assert "37 usable examples" in shown
    assert evidence.digest("7") in shown
    approvals = json.loads(world.kubectl("admin", "get", "approvals", "-n", world.namespace, "-o", "json").passes().out)
    made = next(one["spec"] for one in approvals["items"] if one["spec"]["subjectRef"]["kind"] == "FineTuneJob")
    assert (made["subjectRef"]["name"], made["subjectDigest"]) == ("small", evidence.digest("7"))
    assert (made["role"], made["approver"]["username"]) == ("risk", "ravi")
    revoked = desk.run("reviewer-risk", "revoke", "job/small", "--reason", "not wanted any more", "--yes", code=1)
    assert "only a release can be revoked" in revoked


def test_a_rejected_waiver_shows_who_rejected_it_and_why(world: World, desk: Desk, catalogue: dict[str, Json]) -> None:
    """The reject waits for no role any more, and is no approval that does not count."""
    made = make_finetunejob(
        "unfit", world.namespace, requestedBy={"username": "erin", "groups": ["tunegate:engineers"]}
    )
    world.create("engineer", made, dry_run=False).passes()
    rule = {"name": "risk", "minApprovals": 1, "groups": ["tunegate:model-risk"], "findings": ["MinimumExamples"]}
    few = {"check": "MinimumExamples", "count": 37, "message": "37 usable examples, Format needs 200."}
    waiver = {
        "digest": evidence.digest("7"), "findings": [few], "rules": [rule], "approvals": "0/1",
        "missing": [{"role": "risk", "missing": 1}],
    }  # fmt: skip
    say(world, "finetunejob", "unfit", {"phase": "PendingWaiver", "waiver": waiver})
    assert "waits for 1 of role risk (groups tunegate:model-risk)" in desk.run("reviewer-risk", "show", "job/unfit")
    desk.run("reviewer-risk", "reject", "job/unfit", "--reason", "the rows are too few by far", "--yes")
    ended = {
        "type": "Waived", "status": "False", "reason": "WaiverRejected", "message": "Refused by ravi",
        "lastTransitionTime": "2026-11-26T15:00:00Z",
    }  # fmt: skip
    say(world, "finetunejob", "unfit", {"phase": "Failed", "conditions": [ended]})
    shown = desk.run("engineer", "show", "job/unfit")
    (line,) = [one for one in shown.splitlines() if "the rows are too few by far" in one]
    assert "ravi" in line
    assert "it decided" in line
    assert "waits for" not in shown
    assert "is decided" in desk.run("reviewer-risk", "approve", "job/unfit", "--reason", "fine", "--yes", code=1)
