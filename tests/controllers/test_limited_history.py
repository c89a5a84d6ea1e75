"""How many ended jobs and releases a namespace keeps: the oldest go, with their evidence kept, and never one that is still named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support import builders, past
from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.governed_namespace import World
from tests.support.registry_process import RunningRegistry, running_registry
from tunegate.api.markers import API_VERSION
from tunegate.api.stage.layout import OBJECT_MEDIA_TYPE
from tunegate.controllers.dispatch.facts import facts_of, key_of
from tunegate.controllers.dispatch.surplus import AT_A_TIME, surplus
from tunegate.controllers.finetunejob.controller import FineTuneJobController
from tunegate.controllers.modelrelease.controller import ModelReleaseController
from tunegate.controllers.services import Controller, Services
from tunegate.controllers.worker import Worker
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.naming import job_repository
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, HistoryLimits, Settings

Json = dict[str, Any]
TEAM = "licenses-team"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
LIMITS = HistoryLimits(ended_jobs=2, ended_releases=1)
MEMBERS = (Member("admin", "tunegate-admin", ("system:masters",)),)


def made(obj: Json, day: int = 1) -> Json:
    """Return an object as the API server would have it, that ended on a day of January."""
    time = f"2026-01-{day:02d}T00:00:00Z"
    for condition in obj["status"]["conditions"]:
        condition["lastTransitionTime"] = time
    return obj | {"metadata": obj["metadata"] | {"uid": f"uid-{obj['metadata']['name']}", "generation": 1}}


def ended(name: str, day: int, namespace: str = TEAM) -> Json:
    return made(past.ended_job(name, namespace, day), day)


def denied(name: str, day: int, job: str, **status: Any) -> Json:
    release = past.ended_release(name, TEAM, job)
    release["status"] |= {"phase": "Denied", **status}
    return made(release, day)


def marked(*objects: Json, limits: HistoryLimits = LIMITS, now: datetime = NOW) -> list[str]:
    known: dict[str, Any] = {}
    for obj in objects:
        known.setdefault(obj["kind"], {})[key_of(obj)] = facts_of(obj)
    found = surplus(known, limits, now)
    assert set(found.values()) == {f"uid-{key.name}" for _, key in found}
    return sorted(f"{key.namespace}/{key.name}" for _, key in found)


def test_the_oldest_beyond_the_limit_of_each_namespace_go() -> None:
    jobs = [ended(f"job-{day}", day) for day in (3, 1, 4, 2)] + [ended("alone", 1, "other")]
    assert marked(*jobs) == [f"{TEAM}/job-1", f"{TEAM}/job-2"]


def test_by_default_all_stay() -> None:
    assert marked(*(ended(f"job-{day}", day) for day in range(1, 20)), limits=HistoryLimits()) == []


def test_what_runs_or_ended_a_moment_ago_stays() -> None:
    running = [ended(f"runs-{day}", day) for day in (1, 2, 3)]
    for job in running:
        job["status"]["phase"] = "Training"
    jobs = [ended(f"job-{day}", day) for day in (1, 2, 3)]
    assert marked(*running, *jobs) == [f"{TEAM}/job-1"]
    assert marked(*jobs, now=datetime(2026, 1, 1, 12, tzinfo=UTC)) == []


def test_what_mlflow_does_not_show_yet_stays() -> None:
    jobs = [ended(f"job-{day}", day) for day in (1, 2, 3)]
    jobs[0]["status"]["conditions"] = [past.condition("LineageRecorded", "False")]
    assert marked(*jobs) == []


def test_a_job_that_a_release_names_stays() -> None:
    jobs = [ended(f"job-{day}", day) for day in (1, 2, 3, 4)]
    assert marked(*jobs, denied("release", 1, "job-1")) == [f"{TEAM}/job-2"]


@pytest.mark.parametrize(
    "status",
    [
        {"approvedTime": "2026-01-01T00:00:00Z", "phase": "Revoked"},
        {"override": {"overrides": "1/1", "grantedTime": "2026-01-01T00:00:00Z"}},
        {"phase": "Serving"},
        {"phase": "PendingApproval"},
    ],
)
def test_a_release_that_was_ever_approved_or_is_open_stays(status: Json) -> None:
    releases = [denied(f"release-{day}", day, "job") for day in (2, 3)]
    assert marked(denied("kept", 1, "job", **status), *releases) == [f"{TEAM}/release-2"]


def test_a_limit_that_is_set_late_is_reached_in_steps() -> None:
    jobs = [ended(f"job-{number}", 1 + number % 28) for number in range(300)]
    assert len(marked(*jobs)) == AT_A_TIME


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("plane"), MEMBERS) as running:
        world = World(TEAM, "tunegate-system", running.kubeconfig)
        install_definitions(running)
        for namespace in (world.namespace, world.system):
            world.kubectl("admin", "create", "namespace", namespace).passes()
        yield running


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
async def services(plane: ControlPlane, registry: RunningRegistry) -> AsyncIterator[Services]:
    settings = Settings(
        governed=(GovernedNamespace(name=TEAM, policy="policy"),), trainer_image="t", operator_image="o",
        registry_host=registry.host, registry_plain_http=True,
    )  # fmt: skip
    with RegistryClient(registry.host, plain_http=True) as client:
        async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
            yield Services(kube, settings, client, LedgerWriter(kube), None)


async def put(services: Services, obj: Json, record: str = "JobFinished") -> Json:
    """Create an object that ended long ago, with its record, and mark it as one too many."""
    (live,) = await past.make(services.kube, [obj])
    metadata = live["metadata"]
    subject = AuditSubject(live["kind"], TEAM, metadata["name"], metadata["uid"])
    if record:
        await services.ledger.append(AuditEntry(record, OPERATOR, subject, "end"))  # type: ignore[arg-type]
    services.surplus[live["kind"], ObjectKey(TEAM, metadata["name"])] = metadata["uid"]
    return live


async def look(services: Services, live: Json) -> bool:
    """Let the controller look; tell whether the object is still there."""
    controller: Controller = (FineTuneJobController if live["kind"] == "FineTuneJob" else ModelReleaseController)(
        services
    )
    name = live["metadata"]["name"]
    worker = Worker(controller, services.kube, services.ledger)
    for _ in range(30):
        outcome = await worker.run(ObjectKey(TEAM, name))
        if outcome.result != "transient":
            break
        await asyncio.sleep(outcome.after or 1.0)  # An API server that has just been started asks to wait.
    assert outcome.result == "done", outcome
    return await services.kube.get(ObjectRef(API_VERSION, live["kind"], name, TEAM)) is not None


@pytest.mark.cluster
@pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster")
@pytest.mark.timeout(600)
class TestOnServer:
    async def test_what_a_job_said_is_stored_and_recorded_before_it_goes(self, services: Services) -> None:
        live = await put(services, past.ended_job("gone", TEAM, 1))
        assert not await look(services, live)
        (record,) = [
            one for one in await services.ledger.of_subject(live["metadata"]["uid"]) if one.type == "HistoryRemoved"
        ]
        repository = f"{job_repository(TEAM, 'gone', live['metadata']['uid'])}/results"
        assert record.payload["repository"] == repository
        content = services.registry.pull_document(repository, record.payload["copy"], media_type=OBJECT_MEDIA_TYPE)
        kept = json.loads(content)
        assert (kept["spec"], kept["status"]) == (live["spec"], live["status"])
        assert kept["metadata"]["uid"] == live["metadata"]["uid"]

    async def test_a_release_that_was_denied_goes_and_one_that_was_approved_stays(self, services: Services) -> None:
        release = past.ended_release("denied", TEAM, "nothing")
        release["status"]["phase"] = "Denied"
        assert not await look(services, await put(services, release, "ReleaseDenied"))
        release = past.ended_release("approved", TEAM, "nothing")
        release["status"]["approvedTime"] = past.LONG_AGO
        assert await look(services, await put(services, release, "ReleaseRevoked"))

    async def test_a_job_that_was_named_since_the_last_pass_stays(self, services: Services) -> None:
        released, reused = [await put(services, past.ended_job(name, TEAM, 1)) for name in ("released", "reused")]
        metadata = released["metadata"]
        reference = {"name": metadata["name"], "uid": metadata["uid"]}
        await services.kube.create(builders.make_modelrelease("live", TEAM, jobRef=reference))
        taken = past.ended_job("takes-over", TEAM, 2)
        repository = job_repository(TEAM, "reused", reused["metadata"]["uid"])
        stages = [{"name": "Baseline", "state": "Done", "attempt": 0, "repository": repository}]
        taken["status"] |= {"phase": "Training", "stages": stages, "conditions": []}
        await past.make(services.kube, [taken])
        assert await look(services, released)
        assert await look(services, reused)

    async def test_a_job_of_another_uid_or_without_a_record_of_its_end_stays(self, services: Services) -> None:
        unrecorded = await put(services, past.ended_job("unrecorded", TEAM, 1), record="")
        assert await look(services, unrecorded)
        again = await put(services, past.ended_job("again", TEAM, 1))
        services.surplus["FineTuneJob", ObjectKey(TEAM, "again")] = "another"
        assert await look(services, again)

    async def test_all_stay_while_the_registry_is_away(self, plane: ControlPlane, services: Services) -> None:
        live = await put(services, past.ended_job("kept", TEAM, 1))
        with RegistryClient("127.0.0.1:9", plain_http=True) as away:
            without = Services(services.kube, services.settings, away, services.ledger, None, surplus=services.surplus)
            controller = FineTuneJobController(without)
            await Worker(controller, without.kube, without.ledger).run(ObjectKey(TEAM, "kept"))
        assert await services.kube.get(ObjectRef(API_VERSION, "FineTuneJob", "kept", TEAM)) is not None
        types = [one.type for one in await services.ledger.of_subject(live["metadata"]["uid"])]
        assert "HistoryRemoved" not in types
