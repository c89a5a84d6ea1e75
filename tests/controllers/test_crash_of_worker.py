"""Rule of the machine: kill it after any write and it converges. The real job controller on the real API server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support import builders
from tests.support.recording_client import Crash, Memory, Watched
from tests.support.registry_process import running_registry
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.api.stage.results import HashResult
from tunegate.controllers.finetunejob.controller import FineTuneJobController
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.digests import manifest_digest
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL, base_model_repository
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
Json = dict[str, Any]
ROOTLIKE = {"username": "engineer", "groups": ["system:masters"]}
"""May use every pool and server."""


@dataclass(frozen=True)
class Site:
    """A namespace with all that a job needs to begin."""

    kube: KubeClient
    namespace: str
    settings: Settings
    registry: RegistryClient
    ready: Json
    """The base model with the status that makes it usable."""

    async def reconcile(self, client: Watched, ledger: Memory, key: ObjectKey) -> None:
        """Do one step as a freshly started operator would.

        An installed operator may say meanwhile that the base model's claim is missing, so it is admitted before each.
        """
        await self.kube.apply(self.ready, subresource="status")
        await self.worker(client, ledger).run(key)

    def worker(self, client: Watched, ledger: Memory) -> Worker:
        """Return what a freshly started operator has."""
        services = Services(cast(KubeClient, client), self.settings, self.registry, ledger, None)
        return Worker(FineTuneJobController(services), cast(KubeClient, client), ledger)

    async def children(self, job: Json) -> dict[str, int]:
        """Return how many objects of each kind the job owns."""
        kinds = (("batch/v1", "Job"), ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "PersistentVolumeClaim"))
        uid = job["metadata"]["uid"]
        found = {}
        for version, kind in kinds:
            owners = [
                obj["metadata"].get("ownerReferences") or []
                for obj in await self.kube.list(version, kind, self.namespace)
            ]
            found[kind] = sum(1 for references in owners if any(ref["uid"] == uid for ref in references))
        return found


@pytest.fixture
async def site(operator_kube: KubeClient, namespace: str, tmp_path: Path) -> AsyncIterator[Site]:
    kube, mark = operator_kube, f"t-crash-{secrets.token_hex(3)}"
    with (
        running_registry(tmp_path / "registry") as server,
        RegistryClient(server.host, plain_http=True) as registry,
    ):
        catalogue = [
            await kube.create(builders.make_computepool(mark)),
            await kube.create(builders.make_approvalpolicy(mark)),
            await kube.create(builders.make_basemodel(mark, source="pvc://data/base")),
        ]
        ready = _admitted(catalogue[2], registry)
        await kube.create(
            builders.make_modelserver(namespace=namespace, baseModelRef={"name": mark}, poolRef={"name": mark})
        )
        await kube.create(builders.make_evaluationsuite(namespace=namespace))
        await kube.create(_claim(namespace))
        settings = Settings(
            governed=(GovernedNamespace(name=namespace, policy=mark),),
            trainer_image=builders.IMAGE,
            operator_image=builders.IMAGE,
            engine_images=(builders.IMAGE,),
            registry_host=server.host,
            registry_plain_http=True,
        )
        yield Site(kube, namespace, settings, registry, ready)
        for obj in catalogue:
            await kube.delete(ObjectRef.of(obj))


def _admitted(model: Json, registry: RegistryClient) -> Json:
    """Return the base model as Ready, with its manifest in the registry."""
    manifest = Manifest(files=[FileEntry(path="model.safetensors", size=7, sha256="b" * 64)])
    digest = manifest_digest(manifest)
    result = HashResult(outcome="Passed", manifest=manifest, manifest_digest=digest, bytes=7, parameters=3, seconds=1.0)
    repository = f"{base_model_repository(model['metadata']['name'])}/results"
    stored = registry.push_document(repository, result.model_dump_json(by_alias=True).encode(), RESULT_MEDIA_TYPE)
    status = {"phase": "Ready", "observedGeneration": 1, "manifestDigest": digest, "resultDigest": stored}
    return {key: model[key] for key in ("apiVersion", "kind")} | {
        "metadata": {"name": model["metadata"]["name"]},
        "status": status,
    }


def _claim(namespace: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace, "labels": {USABLE_BY_JOBS_LABEL: "true"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }


async def test_a_crash_after_any_write_ends_in_the_same_world(site: Site) -> None:
    expected: Json = {}
    crashes = 0
    for last in range(0, 30):
        job = await site.kube.create(builders.make_finetunejob(f"j{last}", site.namespace, requestedBy=ROOTLIKE))
        key, ledger = ObjectKey(site.namespace, f"j{last}"), Memory()
        try:
            for _ in range(4):
                await site.reconcile(Watched(site.kube, last), ledger, key)
            crashed = False
        except Crash:
            crashed = True
        crashes += crashed
        settled = Watched(site.kube)
        for _ in range(4):
            settled = Watched(site.kube)
            await site.reconcile(settled, ledger, key)
        live = await site.kube.get(ObjectRef.of(job))
        assert live is not None
        stages = [(s["name"], s["state"], s["attempt"]) for s in live["status"]["stages"]]
        events = {entry.event_id for entry in ledger.entries}
        world = {
            "phase": live["status"]["phase"],
            "stages": stages,
            "events": len(events),
            "children": await site.children(job),
        }
        expected = expected or world
        assert expected == world, f"crash after write {last}"
        assert not [
            write
            for write in settled.writes
            if write.startswith(("create", "apply", "delete")) and "status" not in write
        ], settled.writes
        if last and not crashed:
            break

    assert "Validating" == expected["phase"]
    assert {"Job": 1, "ConfigMap": 1, "Secret": 1, "PersistentVolumeClaim": 0} == expected["children"]
    assert crashes >= 5
