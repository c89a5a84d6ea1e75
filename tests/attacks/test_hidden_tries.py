"""An engineer tries an exam again and again, and makes away with what would tell: the ledger counts all the same.

On an API server and an etcd of the test's own. The operator's part, recording and counting, is done by its own functions.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.builders import IMAGE, make_evaluationsuite, make_finetunejob
from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.governed_namespace import OPERATOR, World, as_list, render
from tests.support.rows import row
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.controllers.catalogue.pools_policies_suites import EvaluationSuiteController
from tunegate.controllers.services import Services
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.suite_tries import asked
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings
from tunegate_trainer.validation.sketching import sketch_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
Json = dict[str, Any]
TEAM = "team"
SETTINGS = Settings(
    governed=(GovernedNamespace(name=TEAM, policy="two-person"),), trainer_image=IMAGE, operator_image=IMAGE,
    engine_images=(IMAGE,), registry_host="registry.invalid",
)  # fmt: skip
UNUSED_REGISTRY = RegistryClient(SETTINGS.registry_host)
"""Suites are judged by the ledger: nothing is read there."""
MEMBERS = (
    Member("admin", "tunegate-admin", ("system:masters",)),
    Member("operator", OPERATOR, ("system:masters",)),
    Member("engineer", "erin", ("tunegate:engineers",)),
)
QUESTIONS = [
    f"Which of the {number} rivers of province {number * 7} reaches the sea in the year {1900 + number}?"
    for number in range(90)
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("plane"), MEMBERS) as running:
        yield running


@pytest.fixture(scope="module")
def team(plane: ControlPlane) -> World:
    world = World(TEAM, "tunegate-system", plane.kubeconfig)
    install_definitions(plane)
    for namespace in (world.namespace, world.system):
        world.kubectl("admin", "create", "namespace", namespace).passes()
    world.kubectl("admin", "apply", "-f", "-", stdin=as_list(render(TEAM))).passes()
    return world


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def suite(world: World, name: str, number: int) -> None:
    """Let the owner of evaluations make a suite, whose questions' file has that digest."""
    made = make_evaluationsuite(name, world.namespace)
    made["spec"]["data"]["digest"] = digest(number)
    world.create("admin", made, dry_run=False).passes()


@asynccontextmanager
async def operator(plane: ControlPlane) -> AsyncIterator[tuple[KubeClient, LedgerWriter]]:
    async with await KubeClient.connect(plane.kubeconfig("operator")) as kube:
        yield kube, LedgerWriter(kube)


def judge(plane: ControlPlane, world: World, name: str, suite_name: str, questions: list[str], outcome: str) -> None:
    """Let erin submit a job, and let the operator record that it was judged."""
    job = make_finetunejob(name, world.namespace, requestedBy={"username": "erin"}, suiteRef={"name": suite_name})
    world.create("engineer", job, dry_run=False).passes()
    sketch = sketch_of([row(number, text) for number, text in enumerate(questions, 1)])

    async def record() -> None:
        async with operator(plane) as (kube, ledger):
            live = await kube.get(ObjectRef("tunegate.io/v1alpha1", "FineTuneJob", name, world.namespace))
            found = await kube.get(ObjectRef("tunegate.io/v1alpha1", "EvaluationSuite", suite_name, world.namespace))
            judged = FineTuneJob.model_validate({**(live or {}), "status": {"suiteSketch": sketch.text}})
            data = EvaluationSuite.model_validate(found).spec.data.digest
            subject = AuditSubject("FineTuneJob", judged.namespace, judged.name, judged.uid)
            await ledger.append(
                AuditEntry("SuiteAsked", "operator", subject, "SuiteAsked", asked(judged, "Evaluate", data))
            )
            end = {"phase": "Succeeded", "gate": outcome} if outcome != "PromptingSuffices" else {"reason": outcome}
            await ledger.append(AuditEntry("JobFinished", "operator", subject, "JobFinished", end))

    asyncio.run(record())


def told(plane: ControlPlane, world: World, name: str) -> Json:
    """Return what the operator writes into the status of a suite."""

    async def look() -> Json:
        async with operator(plane) as (kube, ledger):
            services = Services(kube, SETTINGS, UNUSED_REGISTRY, ledger, None)
            plan = await EvaluationSuiteController(services).reconcile(ObjectKey(world.namespace, name))
            assert plan is not None
            return dict(plan.status or {})

    return asyncio.run(look())


def gone(world: World, role: str, kind: str, name: str) -> None:
    world.kubectl(role, "delete", kind, name, "-n", world.namespace, "--wait=false").passes()


@pytest.mark.attack(57)
def test_tries_of_jobs_and_suites_that_were_deleted_renamed_or_changed_count(plane: ControlPlane, team: World) -> None:
    suite(team, "holders", 1)
    judge(plane, team, "first", "holders", QUESTIONS, "Fail")
    gone(team, "engineer", "finetunejob", "first")
    judge(plane, team, "second", "holders", QUESTIONS, "PromptingSuffices")
    gone(team, "engineer", "finetunejob", "second")

    status = told(plane, team, "holders")

    assert status["tries"]["total"] == 2
    assert [(one["requestedBy"], one["job"], one["outcome"]) for one in status["tries"]["newest"]] == [
        ("erin", "first", "Fail"), ("erin", "second", "PromptingSuffices"),
    ]  # fmt: skip

    gone(team, "admin", "evaluationsuite", "holders")
    suite(team, "owners", 2)
    changed = [f"Well: {text}" for text in [*QUESTIONS[:70], *(f"{text} And why was that?" for text in QUESTIONS[70:])]]
    judge(plane, team, "third", "owners", changed, "Pass")

    status = told(plane, team, "owners")

    assert status["tries"]["total"] == 3
    assert [one["suite"] for one in status["tries"]["newest"]] == ["holders", "holders", "owners"]
    assert json.dumps(status).count("PromptingSuffices") > 1


def test_tries_on_other_questions_do_not_count(plane: ControlPlane, team: World) -> None:
    suite(team, "poems", 3)
    judge(
        plane,
        team,
        "poet",
        "poems",
        [f"Rhyme the word number {number} on itself, in verses of {number} feet" for number in range(60)],
        "Fail",
    )

    assert told(plane, team, "poems")["tries"]["total"] == 1
