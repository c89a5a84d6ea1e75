"""A governed namespace whose job passed its gate, up to the point where people decide on a release of it.

The release controller runs in this process, as the operator's service account, with a real registry. What the job and the
catalogue say is written as the operator would write it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from tests.support import release_evidence
from tests.support.answers import answered
from tests.support.builders import make_basemodel, make_evaluationsuite, make_finetunejob, make_modelserver
from tests.support.command_line import get, say
from tests.support.governed_namespace import OPERATOR, World
from tests.support.registry_process import RunningRegistry, running_registry
from tests.support.released_adapter import KEY
from tests.support.stage_documents import validated
from tests.support.statements import data_statement
from tunegate.api.stage.findings import Finding
from tunegate.api.stage.layout import (
    ANSWERS_MEDIA_TYPE,
    DATA_PAGE_MEDIA_TYPE,
    DATA_STATEMENT_MEDIA_TYPE,
    RESULT_MEDIA_TYPE,
)
from tunegate.cli.main import main
from tunegate.controllers.modelrelease.controller import ModelReleaseController
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.digests import canonical
from tunegate.kube.client import KubeClient, ObjectKey
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.naming import job_repository
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings

Json = dict[str, Any]
Settle = Callable[[str], Any]
"""Reconciles a release until nothing more is to be done; gives its status."""
ANSWERS = answered(12)
BASE = {
    "name": "BasePlain",
    "score": 0.0,
    "difference": 0.795,
    "lower": 0.7,
    "upper": 0.9,
    "outcome": "Pass",
    "answered": 112,
}
STATEMENT = canonical(data_statement().to_dict())
PAGE = b"<!doctype html>\n<p>rows</p>\n"
ROLES = [
    {"name": "risk", "groups": ["tunegate:model-risk"]},
    {"name": "compliance", "groups": ["tunegate:compliance"]},
]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def catalogue(world: World) -> Iterator[dict[str, Json]]:
    """Base model, server, suite and policy of this namespace, with the status that their stages would have given."""
    with made_catalogue(world, world.namespace, "server") as read:
        yield read


@contextmanager
def made_catalogue(world: World, name: str, server: str) -> Iterator[dict[str, Json]]:
    """Create base model and policy of a name, a server of the other, and the one suite; return them as the API server has them."""
    made = {
        "BaseModel": make_basemodel(name),
        "ModelServer": make_modelserver(server, world.namespace, baseModelRef={"name": name}),
        "EvaluationSuite": make_evaluationsuite("suite", world.namespace),
        "ApprovalPolicy": {
            "apiVersion": "tunegate.io/v1alpha1",
            "kind": "ApprovalPolicy",
            "metadata": {"name": name},
            "spec": {
                "roles": ROLES,
                "allowedData": ["Public"],
                "maxApprovalAgeSeconds": 3600,
                "breakGlass": {"role": "break-glass", "groups": ["tunegate:serving-operators"], "maxSeconds": 3600},
            },
        },
    }
    try:
        for obj in made.values():
            world.kubectl("admin", "apply", "-f", "-", stdin=obj).passes()
        make_ready(world, name, release_evidence.digest("b"))
        yield {kind: json.loads(get(world, kind, obj["metadata"]["name"])) for kind, obj in made.items()}
    finally:
        for kind in ("basemodel", "approvalpolicy"):
            world.kubectl("admin", "delete", kind, name, "--wait=false", "--ignore-not-found")


def make_ready(world: World, base_model: str, digest: str) -> None:
    """Say that a base model was hashed; an operator of the cluster may just have looked at the new one, too."""
    deadline, stable = time.monotonic() + 60, 0
    while stable < 3:
        found = say(world, "basemodel", base_model, {"phase": "Ready", "manifestDigest": digest})
        stable = stable + 1 if found else 0
        assert time.monotonic() < deadline
        time.sleep(0.3)


@pytest.fixture(scope="session")
def job(
    world: World, catalogue: dict[str, Json], registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The uid of a job that erin submitted with the command line, and that then passed its gate."""
    document = make_finetunejob("job", world.namespace)
    del document["spec"]["requestedBy"]
    del document["metadata"]["namespace"]
    path = tmp_path_factory.mktemp("yaml") / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    arguments = ["--kubeconfig", world.kubeconfig("engineer"), "create", "job", "-n", world.namespace, "-f", str(path)]
    assert main(arguments) == 0
    live = json.loads(get(world, "FineTuneJob", "job"))
    assert live["spec"]["requestedBy"]["username"] == "erin"
    return passed(world, catalogue, registry, "job")


def passed(world: World, catalogue: dict[str, Json], registry: RunningRegistry, name: str) -> str:
    """Let a job pass its gate: what its stages leave in the registry, and its status; return its uid."""
    uid = str(json.loads(get(world, "FineTuneJob", name))["metadata"]["uid"])
    repository = job_repository(world.namespace, name, uid)
    with RegistryClient(registry.host, plain_http=True) as client:
        said = client.push_document(f"{repository}/answers", ANSWERS, ANSWERS_MEDIA_TYPE)
        evaluation = release_evidence.evaluation(catalogue, answersDigest=said, arms=[BASE])
        result = client.push_document(f"{repository}/results", canonical(evaluation), RESULT_MEDIA_TYPE)
        stated = client.push_document(f"{repository}/results", STATEMENT, DATA_STATEMENT_MEDIA_TYPE)
        page = client.push_document(f"{repository}/data", PAGE, DATA_PAGE_MEDIA_TYPE)
        twice = Finding(check="Duplicates", action="Warn", count=2, rows=["7", "9"], message="2 rows repeat")
        found = validated(statement_digest=stated, page_digest=page, findings=[twice]).to_dict()
        checked = client.push_document(f"{repository}/results", canonical(found), RESULT_MEDIA_TYPE)
    status = release_evidence.job_status(catalogue, result)
    status["stages"].append({"name": "Validate", "state": "Done", "attempt": 1, "resultDigest": checked})
    status["dataset"]["statementDigest"] = stated
    say(world, "finetunejob", name, status)
    return uid


def ask(world: World, name: str, job_uid: str, job: str = "job") -> Json:
    """Let erin ask for a release of a job; return what approvals name it by."""
    document = release_evidence.release_of({"metadata": {"name": job, "uid": job_uid}}, world.namespace)
    document["metadata"]["name"] = name
    document["spec"]["requestedBy"] = {"username": "erin", "groups": ["tunegate:engineers"]}
    world.create("engineer", document, dry_run=False).passes()
    return {
        "kind": "ModelRelease",
        "name": name,
        "uid": json.loads(get(world, "ModelRelease", name))["metadata"]["uid"],
    }


@pytest.fixture
async def settle(world: World, registry: RunningRegistry, kubeconfig: Callable[[str], str]) -> AsyncIterator[Settle]:
    """The controller of an operator that signs nothing, under the namespace's policy."""
    async with reconciling(world, registry, kubeconfig, None) as run:
        yield run


@pytest.fixture
async def settle_signed(
    world: World, registry: RunningRegistry, kubeconfig: Callable[[str], str]
) -> AsyncIterator[Settle]:
    """The same of an operator that has a key."""
    async with reconciling(world, registry, kubeconfig, KeyRing(KEY)) as run:
        yield run


@asynccontextmanager
async def reconciling(
    world: World, registry: RunningRegistry, kubeconfig: Callable[[str], str], keys: KeyRing | None, policy: str = ""
) -> AsyncIterator[Settle]:
    """Run the release controller as the operator, under a policy of that name."""
    configuration = Configuration()
    await config.load_kube_config(kubeconfig("admin"), client_configuration=configuration, persist_config=False)
    api = ApiClient(configuration)
    api.set_default_header("Impersonate-User", OPERATOR)
    api.set_default_header("Impersonate-Group", "system:masters")
    settings = Settings(
        governed=(GovernedNamespace(name=world.namespace, policy=policy or world.namespace),),
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
