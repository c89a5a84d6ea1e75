"""What people delete: an experiment in MLflow comes back, and the run of a job that is gone ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.builders import make_finetunejob
from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.governed_namespace import World
from tests.support.recording_client import Memory
from tests.support.silent_server import silent_server
from tests.tracking.mlflow_process import MlflowServer
from tests.tracking.test_mlflow_records import record_of, recorded, run_of, values
from tunegate.controllers.mlflow.controller import JobLineageController
from tunegate.controllers.mlflow.deleted_jobs import EVERY_SECONDS, SILENT_SECONDS, DeletedJobs
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings
from tunegate.tracking.mlflow import Tracking, TrackingUnavailable

pytestmark = pytest.mark.timeout(600)
TEAM = "leaving"
SETTINGS = Settings(governed=(GovernedNamespace(name=TEAM, policy="policy"),), trainer_image="t", operator_image="o",
                    registry_host="127.0.0.1:1", registry_plain_http=True)  # fmt: skip


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    members = (Member("admin", "tunegate-admin", ("system:masters",)),)
    with running_control_plane(tmp_path_factory.mktemp("plane"), members) as running:
        world = World(TEAM, "tunegate-system", running.kubeconfig)
        install_definitions(running)
        world.kubectl("admin", "create", "namespace", TEAM).passes()
        yield running


async def test_an_experiment_of_ours_that_somebody_deleted_is_restored_with_its_runs(
    server: MlflowServer, tracking: Tracking
) -> None:
    record = dataclasses.replace(record_of("before"), namespace="deleted")
    first = await tracking.record_job(record)
    experiment = server.ask("operator", "experiments/get-by-name?experiment_name=tunegate/deleted").json()["experiment"]
    gone = server.ask("operator", "experiments/delete", {"experiment_id": experiment["experiment_id"]})
    assert gone.status_code == 200, gone.text

    second = await tracking.record_job(dataclasses.replace(record, uid="after"))
    again = await tracking.record_job(dataclasses.replace(record, known_as=first.identifier))

    assert second.name == "tunegate/deleted"
    assert again == first
    assert run_of(server, first.identifier)["info"]["lifecycle_stage"] == "active"
    assert await tracking.changed(dataclasses.replace(record, uid="new"), known=False, recorded=False) == ()


@pytest.mark.cluster
@pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster")
async def test_runs_of_jobs_that_were_deleted_end_and_others_run_on(
    server: MlflowServer, tracking: Tracking, plane: ControlPlane
) -> None:
    now = 0.0
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
        jobs = [await kube.create(make_finetunejob(name, TEAM)) for name in ("stays", "goes", "goes-later")]
        uids = [job["metadata"]["uid"] for job in jobs]
        runs = [
            await recorded(tracking, dataclasses.replace(record_of(uid), namespace=TEAM, state="RUNNING", end_ms=None))
            for uid in uids
        ]
        runs.append(await recorded(tracking, dataclasses.replace(record_of("done"), namespace=TEAM)))
        deleted = DeletedJobs(kube, clock=lambda: now)

        async def delete(name: str) -> None:
            await kube.delete(ObjectRef(jobs[0]["apiVersion"], "FineTuneJob", name, TEAM))

        def states() -> list[str]:
            return [str(run_of(server, run)["info"]["status"]) for run in runs]

        await delete("goes")
        await deleted.end_runs(tracking, TEAM)
        assert states() == ["RUNNING", "KILLED", "RUNNING", "FINISHED"]
        assert values(run_of(server, runs[1])["data"]["tags"])["tunegate.phase"] == "Deleted"

        await delete("goes-later")
        await deleted.end_runs(tracking, TEAM)
        assert states()[2] == "RUNNING", "it is not looked for at every reconcile"
        deleted.expect(TEAM)
        await deleted.end_runs(tracking, TEAM)
        assert states() == ["RUNNING", "KILLED", "KILLED", "FINISHED"]

        await delete("stays")
        now += EVERY_SECONDS
        await deleted.end_runs(tracking, TEAM)
        assert states() == ["KILLED", "KILLED", "KILLED", "FINISHED"]


@pytest.mark.cluster
@pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster")
async def test_the_run_of_the_last_job_of_a_namespace_ends_though_mlflow_was_away_when_the_job_was_deleted(
    server: MlflowServer, tracking: Tracking, plane: ControlPlane
) -> None:
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
        with RegistryClient("127.0.0.1:1", plain_http=True) as registry:
            services = Services(kube, SETTINGS, registry, Memory(), tracking)
            worker = Worker(JobLineageController(services), kube, services.ledger)
            record = dataclasses.replace(record_of("last"), namespace=TEAM, state="RUNNING", end_ms=None)
            run = await recorded(tracking, record)

            server.stop()
            outcomes = [await worker.run(ObjectKey(TEAM, name)) for name in ("last", "last")]
            server.start()
            again = Worker(JobLineageController(services), kube, services.ledger)
            done = await again.run(ObjectKey(TEAM, "last"))

        assert [one.result for one in outcomes] == ["transient", "transient"], "the key comes back"
        assert done.result == "done"
        assert run_of(server, run)["info"]["status"] == "KILLED"


async def test_while_mlflow_is_away_it_is_asked_for_deleted_jobs_once_a_minute_and_not_at_every_reconcile() -> None:
    now = 0.0
    with silent_server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as mlflow:
        tracking = Tracking(f"http://{mlflow.host}")
        kube: Any = None
        deleted = DeletedJobs(kube, clock=lambda: now)
        for _ in range(3):
            with pytest.raises(TrackingUnavailable):
                await deleted.end_runs(tracking, TEAM)
        asked = mlflow.count
        deleted.expect(TEAM)
        with pytest.raises(TrackingUnavailable):
            await deleted.end_runs(tracking, TEAM)
        assert mlflow.count == asked > 0

        now += SILENT_SECONDS
        with pytest.raises(TrackingUnavailable):
            await deleted.end_runs(tracking, TEAM)
        assert mlflow.count > asked
