"""The lineage controllers against a real API server, a real registry and a real MLflow that goes away and comes back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NamespaceFactory
from tests.support.builders import make_finetunejob
from tests.support.ledgers import Store
from tests.support.registry_process import running_registry
from tests.support.statements import data_statement
from tests.tracking import story
from tests.tracking.mlflow_process import MlflowServer
from tunegate.api.markers import API_VERSION
from tunegate.api.stage.layout import DATA_STATEMENT_MEDIA_TYPE, RESULT_MEDIA_TYPE
from tunegate.controllers.mlflow.controller import JobLineageController
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.digests import canonical
from tunegate.kube.client import FIELD_MANAGER, KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.naming import job_repository
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings
from tunegate.tracking.mlflow import Login, Tracking

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


async def finished(kube: KubeClient, registry: RegistryClient, namespace: str) -> dict[str, Any]:
    """Make a job whose results lie in the registry and whose status says so, as its own controller would."""
    job = await kube.create(make_finetunejob(namespace=namespace))
    repository = f"{job_repository(namespace, 'job', job['metadata']['uid'])}/results"
    digests = {
        name: registry.push_document(repository, canonical(result.to_dict()), RESULT_MEDIA_TYPE)
        for name, result in story.results().items()
    }
    said = registry.push_document(repository, canonical(data_statement().to_dict()), DATA_STATEMENT_MEDIA_TYPE)
    status = story.job_status(digests)
    status["dataset"]["statementDigest"] = said
    identity = {"apiVersion": API_VERSION, "kind": "FineTuneJob", "metadata": {"name": "job", "namespace": namespace}}
    return await kube.apply({**identity, "status": status}, subresource="status")


def settings_of(host: str, namespace: str) -> Settings:
    governed = (GovernedNamespace(name=namespace, policy="p"),)
    return Settings(trainer_image="t", operator_image="o", registry_host=host, governed=governed)


def tracking_of(server: MlflowServer) -> Tracking:
    login = Login(server.folder / "username", server.folder / "password")
    return Tracking(server.uri, login=login, ca_file=server.ca_file)


async def test_a_job_is_recorded_once_mlflow_answers_and_its_own_status_stays(
    kube: KubeClient, namespaces: NamespaceFactory, server: MlflowServer, tmp_path: Path
) -> None:
    namespace = await namespaces("lineage")
    with running_registry(tmp_path) as running, RegistryClient(running.host, plain_http=True) as registry:
        job = await finished(kube, registry, namespace)
        tracking = tracking_of(server)
        services = Services(kube, settings_of(running.host, namespace), registry, LedgerWriter(kube), tracking)
        key, ref = ObjectKey(namespace, "job"), ObjectRef(API_VERSION, "FineTuneJob", "job", namespace)

        server.stop()
        outcome = await Worker(JobLineageController(services), kube, services.ledger).run(key)
        assert (outcome.result, outcome.after) == ("done", 5.0)
        assert condition(await kube.get(ref)) == ("False", "TrackingUnavailable")

        server.start()
        worker = Worker(JobLineageController(dataclasses.replace(services)), kube, services.ledger)
        assert (await worker.run(key)).after is None
        seen = await kube.get(ref)
        assert condition(seen) == ("True", "Recorded")
        assert seen is not None
        run = server.ask("operator", f"runs/get?run_id={seen['status']['mlflowRunId']}").json()["run"]
        assert {"key": "tunegate.jobUid", "value": job["metadata"]["uid"]} in run["data"]["tags"]
        assert run["info"]["status"] == "FINISHED"
        listed = server.ask("operator", f"artifacts/list?run_id={run['info']['run_id']}&path=reports").json()["files"]
        assert {"data-statement.json", "croissant.json"} < {Path(file["path"]).name for file in listed}
        assert seen["status"]["phase"] == "Succeeded"
        assert seen["status"]["gate"]["outcome"] == "Pass"

        version = seen["metadata"]["resourceVersion"]
        await worker.run(key)
        again = await kube.get(ref)
        assert again is not None
        assert again["metadata"]["resourceVersion"] == version
        managers = {entry["manager"] for entry in again["metadata"]["managedFields"] if entry.get("subresource")}
        assert managers == {FIELD_MANAGER, JobLineageController.manager}


@pytest.mark.attack(27)
async def test_what_somebody_changed_in_mlflow_is_in_the_ledger_before_it_is_set_right(
    kube: KubeClient, namespaces: NamespaceFactory, server: MlflowServer, tmp_path: Path
) -> None:
    namespace = await namespaces("drift")
    with running_registry(tmp_path) as running, RegistryClient(running.host, plain_http=True) as registry:
        job = await finished(kube, registry, namespace)
        tracking = tracking_of(server)
        # A ledger of its own: where the chart is installed, only the operator appends to the cluster's.
        services = Services(kube, settings_of(running.host, namespace), registry, LedgerWriter(Store()), tracking)
        key, ref = ObjectKey(namespace, "job"), ObjectRef(API_VERSION, "FineTuneJob", "job", namespace)
        await Worker(JobLineageController(services), kube, services.ledger).run(key)
        seen = await kube.get(ref)
        assert seen is not None
        run = seen["status"]["mlflowRunId"]
        for name in ("tunegate.gate", "tunegate.phase"):
            tag = {"run_id": run, "key": name, "value": "Pass with honors"}
            assert server.ask("operator", "runs/set-tag", tag).status_code == 200

        restarted = Worker(JobLineageController(services), kube, services.ledger)
        outcome = await restarted.run(key)
        assert (outcome.after, outcome.writes) == (0.1, {"audit": 1})
        recorded = await services.ledger.of_subject(job["metadata"]["uid"])
        assert [(one.type, one.payload) for one in recorded] == [
            ("TrackingDrift", {"changed": "tunegate.gate, tunegate.phase"})
        ]
        assert shown(server, run)["tunegate.gate"] == "Pass with honors"
        assert (await restarted.run(key)).after is None
        assert shown(server, run)["tunegate.gate"] == "Pass"
        assert len(await services.ledger.of_subject(job["metadata"]["uid"])) == 1
        assert condition(await kube.get(ref)) == ("True", "Recorded")

        assert server.ask("operator", "runs/delete", {"run_id": run}).status_code == 200
        restarted = Worker(JobLineageController(services), kube, services.ledger)
        assert (await restarted.run(key)).writes == {"audit": 1}
        assert (await services.ledger.of_subject(job["metadata"]["uid"]))[-1].payload == {"changed": "gone"}
        await restarted.run(key)
        seen = await kube.get(ref)
        assert seen is not None
        assert seen["status"]["mlflowRunId"] != run


def shown(server: MlflowServer, run: str) -> dict[str, str]:
    found = server.ask("operator", f"runs/get?run_id={run}").json()["run"]["data"]["tags"]
    return {tag["key"]: tag["value"] for tag in found}


def condition(job: dict[str, Any] | None) -> tuple[str, str]:
    assert job is not None
    found = next(entry for entry in job["status"]["conditions"] if entry["type"] == "LineageRecorded")
    return found["status"], found["reason"]
