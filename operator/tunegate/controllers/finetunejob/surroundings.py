"""Reads what a job names and shares with others: server, pools, policy, suites, base model, claims and rights.

What concerns none but this job is read live. The rest may be a moment old (``Recent``), except for budgets, which count every job.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from tunegate.admission.rules import subject_of, windows
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.spec import Dataset, Documents
from tunegate.api.manifest import Manifest
from tunegate.api.markers import API_VERSION, Resource
from tunegate.api.modelserver import ModelServer
from tunegate.api.stage.results import HashResult
from tunegate.controllers.documents import ResultReader
from tunegate.controllers.reading import parsed, read
from tunegate.controllers.services import Services
from tunegate.kube.client import ObjectRef
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.finetunejob.budget import COUNTED, period
from tunegate.reconcile.finetunejob.observed import StoreSecret
from tunegate.reconcile.history import OPEN_ONLY
from tunegate.reconcile.naming import base_model_repository
from tunegate.reconcile.suite_questions import matters

T = TypeVar("T", bound=Resource)
KIND = FineTuneJob.KIND.kind


class Surroundings:
    """Reads for the controller of jobs."""

    def __init__(self, services: Services, results: ResultReader) -> None:
        self._kube = services.kube
        self._settings = services.settings
        self._ledger = services.ledger
        self._recent = services.recent
        self._results = results

    async def places(self, job: FineTuneJob) -> dict[str, Any]:
        """Read the server and the pools."""
        server = await self._read(ModelServer, job.spec.server_ref.name, job.namespace)
        if server is None:
            return {}
        server_pool = await self._read(ComputePool, server.spec.pool_ref.name)
        own = job.spec.pool_ref or server.spec.pool_ref
        pool = server_pool if own == server.spec.pool_ref else await self._read(ComputePool, own.name)
        return {"server": server, "server_pool": server_pool, "pool": pool}

    async def rules(self, job: FineTuneJob) -> dict[str, Any]:
        """Read the policy, and when the admission rules were not in force."""
        name, system = self._settings.policy_of(job.namespace), subject_of(self._settings.system_namespace).uid

        async def records() -> Sequence[AuditRecordSpec]:
            return await self._ledger.of_subject(system)

        return {
            "policy": await self._read(ApprovalPolicy, name) if name else None,
            "windows": windows(await self._recent.ask("AuditRecord", system, records)),
        }

    async def claim(self, name: str, namespace: str) -> Json | None:
        """Read a claim that people made."""
        ref = ObjectRef("v1", "PersistentVolumeClaim", name, namespace)
        return await self._recent.ask(ref.kind, ref, lambda: self._kube.get(ref))

    async def inputs(
        self, job: FineTuneJob, server: ModelServer | None, policy: ApprovalPolicy | None, now: datetime
    ) -> dict[str, Any]:
        """Read what is needed only to start an attempt."""
        facts: dict[str, Any] = {
            "suite": await self._read(EvaluationSuite, job.spec.suite_ref.name, job.namespace),
            "store_secret": await self._store_secret(job.namespace, job.spec.dataset),
            "documents_secret": await self._store_secret(job.namespace, job.spec.baseline.documents),
            "hub_endpoint": self._settings.hub_endpoint,
            "engine_images": self._settings.engine_images,
        }
        if job.status.stage("Validate").state == "Waiting":
            suites = await self._of_namespace(job.namespace)
            facts["other_suites"] = {name: one for name, one in suites.items() if name != job.spec.suite_ref.name}
        if policy is not None and policy.spec.budget is not None:
            facts |= await self._neighbors(job, period(policy.spec.budget, now)[0])
        if server is None:
            return facts
        base_model = await self._read(BaseModel, server.spec.base_model_ref.name)
        facts["base_model"] = base_model
        facts["base_manifest"] = await self._manifest(base_model) if base_model else None
        facts["denied"] = await self._denied(job, server)
        return facts

    async def suites(self, job: FineTuneJob) -> list[EvaluationSuite]:
        """Return the job's suite, and until it was validated the others of its namespace that its rows may be compared with."""
        found = await self._of_namespace(job.namespace)
        all_of_them = job.status.stage("Validate").state in ("Waiting", "Running")
        known = {name: suite for name, suite in found.items() if suite is not None}
        own = job.spec.suite_ref.name
        return [suite for name, suite in sorted(known.items()) if name == own or (all_of_them and matters(suite))]

    async def _of_namespace(self, namespace: str) -> dict[str, EvaluationSuite | None]:
        return await self._recent.ask(EvaluationSuite.KIND.kind, namespace, lambda: self._suites(namespace))

    async def _read(self, model: type[T], name: str, namespace: str = "") -> T | None:
        async def question() -> T | None:
            return await read(self._kube, model, name, namespace)

        return await self._recent.ask(model.KIND.kind, (namespace, name), question)

    async def _suites(self, namespace: str) -> dict[str, EvaluationSuite | None]:
        """Read the suites of a namespace; one that was written under other rules stops no job."""
        found: dict[str, EvaluationSuite | None] = {}
        for raw in await self._kube.list(API_VERSION, EvaluationSuite.KIND.kind, namespace):
            name = raw["metadata"]["name"]
            try:
                found[name] = EvaluationSuite.model_validate(raw)
            except ValidationError:
                found[name] = None
        return found

    async def _neighbors(self, job: FineTuneJob, since: datetime) -> dict[str, Any]:
        """Read the namespace's jobs that have not ended, then what the ledger holds: so none that ends meanwhile is missed."""
        found = await self._kube.list(API_VERSION, KIND, job.namespace, fields=OPEN_ONLY[KIND])
        jobs = parsed(FineTuneJob, found)
        records = await self._ledger.of_namespace(KIND, job.namespace, COUNTED, since)
        return {"namespace_jobs": jobs, "namespace_records": tuple(records)}

    async def _store_secret(self, namespace: str, source: Dataset | Documents | None) -> StoreSecret | None:
        """Read labels and keys of the Secret that opens the store of an input; its values are for the pod only."""
        name = source.secret_name if source else None
        secret = await self._kube.get(ObjectRef("v1", "Secret", name, namespace)) if name else None
        if secret is None:
            return None
        return StoreSecret(secret["metadata"].get("labels") or {}, frozenset(secret.get("data") or {}))

    async def _manifest(self, base_model: BaseModel) -> Manifest | None:
        digest = base_model.status.result_digest
        if digest is None:
            return None
        result = await self._results.read(f"{base_model_repository(base_model.name)}/results", digest)
        return result.manifest if isinstance(result, HashResult) else None

    async def _denied(self, job: FineTuneJob, server: ModelServer) -> tuple[str, ...]:
        """Ask RBAC about the pool to train on and the server, in the requester's name."""
        pool = (job.spec.pool_ref or server.spec.pool_ref).name
        wanted = (("computepools", pool, ""), ("modelservers", server.name, job.namespace))
        return tuple([f"{one[0]}/{one[1]}" for one in wanted if not await self._may_use(job, *one)])

    async def _may_use(self, job: FineTuneJob, resource: str, name: str, namespace: str) -> bool:
        person = job.spec.requested_by
        return await self._recent.ask(
            "SubjectAccessReview",
            (person.model_dump_json(), resource, name, namespace),
            lambda: self._kube.allowed(person, verb="use", resource=resource, name=name, namespace=namespace),
        )
