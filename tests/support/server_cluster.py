"""A real cluster and a real registry with everything that a server's controller reads: built by hand, without a job."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.support import builders
from tests.support.sealed_adapter import Bench, evaluation
from tunegate.api.finetunejob.status import AdapterStatus
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease, ModelReleaseStatus
from tunegate.api.modelserver import ModelServer
from tunegate.api.shared import Requester, SuiteTries
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE, STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import EvaluateResult, HashResult, SealResult
from tunegate.controllers.modelrelease.controller import ModelReleaseController
from tunegate.controllers.modelserver.controller import ModelServerController
from tunegate.controllers.services import Ledger, Services
from tunegate.controllers.worker import Outcome, Worker
from tunegate.digests import document_digest
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.tries import Tries
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile import naming
from tunegate.reconcile.modelrelease.ledger_entries import Frozen, requested
from tunegate.release.statement import (
    BasePart,
    DataPart,
    EnginePart,
    EvaluationPart,
    JobPart,
    PolicyPart,
    ReleasePart,
    ReleaseStatement,
)
from tunegate.settings import GovernedNamespace, Settings
from tunegate.sketch import Sketch

Json = dict[str, Any]
JOB_UID = "11111111-2222-3333-4444-555555555555"


@dataclass
class Recorder:
    """A ledger that keeps entries in memory."""

    entries: dict[str, AuditEntry] = field(default_factory=dict)

    async def append(self, entry: AuditEntry) -> None:
        self.entries.setdefault(entry.event_id, entry)

    async def of_subject(self, uid: str) -> list[Any]:
        return []

    async def tries(self, data_digest: str, sketch: Sketch | None = None) -> Tries:
        """No test here looks at them."""
        return Tries()

    async def of_namespace(self, kind: str, namespace: str, types: Collection[str], since: datetime) -> list[Any]:
        return []


@dataclass
class Site:
    """One governed namespace with a server, its base model and its pool."""

    kube: KubeClient
    bench: Bench
    namespace: str
    suffix: str
    ledger: Recorder = field(default_factory=Recorder)
    evaluation: Callable[[str], EvaluateResult] = evaluation

    @classmethod
    async def prepare(cls, kube: KubeClient, bench: Bench, namespace: str, **spec: Any) -> Site:
        """Create base model, pool and server; the base model is Ready."""
        site = cls(kube, bench, namespace, secrets.token_hex(3))
        await kube.create(builders.make_computepool(site.pool))
        stored = await kube.create(builders.make_basemodel(site.base))
        document = bench.document()
        result = HashResult(
            outcome="Passed", manifest=document.base.manifest, manifest_digest=document.base.manifest_digest,
            bytes=1, parameters=1, seconds=0.1,
        )  # fmt: skip
        repository = f"{naming.base_model_repository(site.base)}/results"
        digest = bench.client.push_document(
            repository, result.model_dump_json(by_alias=True).encode(), RESULT_MEDIA_TYPE
        )
        status = {
            "phase": "Ready",
            "manifestDigest": document.base.manifest_digest,
            "resultDigest": digest,
            "observedGeneration": 1,
            "attempts": 1,
            "message": "",
            "conditions": [],
        }
        await site._admit(stored, status)
        server = builders.make_modelserver(
            namespace=namespace,
            baseModelRef={"name": site.base},
            poolRef={"name": site.pool},
            routes=[{"name": "extractor"}],
            **spec,
        )
        await kube.create(server)
        return site

    @property
    def pool(self) -> str:
        return f"t-pool-{self.suffix}"

    @property
    def base(self) -> str:
        return f"t-base-{self.suffix}"

    async def clean(self) -> None:
        """Remove what lies outside the namespace."""
        for kind, name in (("BaseModel", self.base), ("ComputePool", self.pool)):
            await self.kube.delete(ObjectRef(API_VERSION, kind, name))

    async def approve(self, name: str) -> str:
        """Seal an adapter and release it, as if people had agreed; return its served name."""
        raw = await self.kube.create(builders.make_modelrelease(name, self.namespace))
        release = ModelRelease.model_validate(raw)
        server = ModelServer.model_validate(await self.get("ModelServer", "server"))
        statement = self._statement(release, server)
        repository = naming.statement_repository(self.namespace, name, release.uid)
        digest = self.bench.client.push_document(repository, statement.content, STATEMENT_MEDIA_TYPE)
        status = {
            "phase": "Approved",
            "releaseDigest": statement.digest,
            "statementDigest": digest,
            "servedName": statement.served_name,
            "serverRef": {"name": "server"},
            "approvedTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "observedGeneration": 1,
            "message": "",
            "conditions": [],
        }
        await self._set_status(raw, status)
        return statement.served_name

    async def ask(self, name: str, **policy: Any) -> ReleaseStatement:
        """Seal an adapter and ask to release it under a policy: from here on the release's controller has the say."""
        raw = await self.kube.create(builders.make_modelrelease(name, self.namespace))
        release = ModelRelease.model_validate(raw)
        server = ModelServer.model_validate(await self.get("ModelServer", "server"))
        system = await self.kube.get(ObjectRef("v1", "Namespace", "kube-system"))
        assert system is not None
        statement = self._statement(release, server, system["metadata"]["uid"], **policy)
        repository = naming.statement_repository(self.namespace, name, release.uid)
        digest = self.bench.client.push_document(repository, statement.content, STATEMENT_MEDIA_TYPE)
        frozen = Frozen(statement, statement.digest, repository, digest)
        await LedgerWriter(self.kube).append(requested(release, frozen))
        return statement

    async def decide(self, name: str) -> ModelReleaseStatus:
        """Let the release's controller look and act, with the cluster's own ledger, until it waits for people."""
        services = self._services(LedgerWriter(self.kube))
        worker = Worker(ModelReleaseController(services), self.kube, services.ledger)
        for _ in range(10):
            outcome = await worker.run(ObjectKey(self.namespace, name))
            assert outcome.result == "done", outcome
            if outcome.after is None or outcome.after > 1:
                break
        return ModelRelease.model_validate(await self.get("ModelRelease", name)).status

    async def revoke(self, name: str) -> None:
        """Take the approval back."""
        raw = await self.get("ModelRelease", name)
        await self._set_status(raw, {**raw["status"], "phase": "Revoked"})

    async def forge(self, name: str, digest: str) -> None:
        """Let the release's status name another statement than the stored one."""
        raw = await self.get("ModelRelease", name)
        await self._set_status(raw, {**raw["status"], "releaseDigest": digest})

    async def get(self, kind: str, name: str, api_version: str = API_VERSION) -> Json:
        found = await self.kube.get(ObjectRef(api_version, kind, name, self.namespace))
        assert found is not None, f"{kind} {name} does not exist"
        return found

    async def reconcile(self) -> Outcome:
        """Let a controller that was started just now look and act once."""
        return await self.worker().run(ObjectKey(self.namespace, "server"))

    def worker(self) -> Worker:
        """Return a controller that goes on from one reconcile to the next."""
        return Worker(ModelServerController(self._services(self.ledger)), self.kube, self.ledger)

    def _services(self, ledger: Ledger) -> Services:
        settings = Settings(
            trainer_image=builders.IMAGE, operator_image=builders.IMAGE, engine_images=(builders.IMAGE,), registry_host=self.bench.registry.host,
            registry_plain_http=True, governed=(GovernedNamespace(name=self.namespace, policy="policy"),),
        )  # fmt: skip
        return Services(self.kube, settings, self.bench.client, ledger, None)

    async def _admit(self, base: Json, status: Json) -> None:
        """Make the base model Ready: an installed operator may be saying something else until it sees a verdict."""
        stable = 0
        for _ in range(30):
            live = await self.kube.get(ObjectRef(API_VERSION, "BaseModel", self.base))
            if ((live or {}).get("status") or {}).get("phase") == "Ready":
                stable += 1
            else:
                stable = 0
                await self._set_status(base, status)
            if stable == 3:
                return
            await asyncio.sleep(1)
        raise AssertionError("the base model did not stay Ready")

    async def _set_status(self, obj: Json, status: Json) -> None:
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace") if key in obj["metadata"]}
        body = {"apiVersion": API_VERSION, "kind": obj["kind"], "metadata": metadata, "status": status}
        await self.kube.apply(body, manager="t-serving", subresource="status")

    def _statement(
        self, release: ModelRelease, server: ModelServer, cluster: str = "cluster", **policy: Any
    ) -> ReleaseStatement:
        entry = self.bench.seal(release.name)
        seal = SealResult(
            outcome="Passed", repository=entry.repository, digest=entry.digest, manifest=entry.manifest,
            manifest_digest=entry.manifest_digest, bytes=1, rank=8,
        )  # fmt: skip
        results = f"{naming.job_repository(self.namespace, 'job', JOB_UID)}/results"
        sealed = self.bench.client.push_document(
            results, seal.model_dump_json(by_alias=True).encode(), RESULT_MEDIA_TYPE
        )
        judged = self.bench.client.push_document(
            results, self.evaluation(entry.manifest_digest).model_dump_json(by_alias=True).encode(), RESULT_MEDIA_TYPE
        )
        rules = builders.make_approvalpolicy(**policy)["spec"]
        base = builders.make_basemodel()["spec"]
        profile = server.spec.profile
        return ReleaseStatement.model_validate({
            "cluster": cluster,
            "operatorImage": "registry.local/tunegate/operator:0.1.0",
            "release": ReleasePart(
                namespace=self.namespace, name=release.name, uid=release.uid, spec=release.spec
            ).to_dict(),
            "job": JobPart(
                name="job", uid=JOB_UID, requested_by=Requester(username="engineer"), source="Train",
                results={"Seal": sealed}, images={},
            ).to_dict(),
            "adapter": AdapterStatus(
                repository=entry.repository, digest=entry.digest, manifest_digest=entry.manifest_digest, bytes=1, rank=8
            ).to_dict(),
            "baseModel": BasePart(
                name=self.base, manifest_digest=self.bench.document().base.manifest_digest, license=base["license"], publisher=""
            ).to_dict(),
            "engine": EnginePart(
                server="server", server_uid=server.uid, profile=profile, digest=document_digest(profile.to_dict())
            ).to_dict(),
            "data": DataPart(
                digest=builders.DIGEST, statement_digest=builders.DIGEST, rows=1, classification="Public",
                license="x", source="x", steward="",
            ).to_dict(),
            "evaluation": EvaluationPart(
                suite="suite", suite_digest=builders.DIGEST, suite_tries=SuiteTries(total=1), result_digest=judged,
                outcome="Pass", metric="ExactMatch", tuned="0.8", margin="0.05",
            ).to_dict(),
            "policy": PolicyPart.model_validate(
                {"name": "p", "uid": "u", "digest": builders.DIGEST, "spec": rules}
            ).to_dict(),
        })  # fmt: skip
