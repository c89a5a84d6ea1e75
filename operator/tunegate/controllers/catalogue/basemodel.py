"""BaseModelController: looks at a BaseModel, its claim, its hash attempts and their results."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import ValidationError

from tunegate.api.basemodel import BaseModel
from tunegate.api.markers import API_VERSION, MANAGED_BY_LABEL
from tunegate.api.stage.ends import Termination
from tunegate.api.stage.results import StageResult
from tunegate.controllers.documents import ResultReader
from tunegate.controllers.reading import understood
from tunegate.controllers.services import Services
from tunegate.kube.client import FIELD_MANAGER, ObjectKey, ObjectRef
from tunegate.kube.likeness import controller_uid
from tunegate.manifests.sources import SCHEME, claim_path
from tunegate.manifests.stage_job import STAGE_CONTAINER
from tunegate.reconcile.attempt.attempt import Attempt
from tunegate.reconcile.attempt.lost_result import LostResult
from tunegate.reconcile.attempt.pod_end import container_state
from tunegate.reconcile.catalogue.basemodel import STAGE, Observed, plan
from tunegate.reconcile.naming import (
    ATTEMPT_LABEL,
    BASE_MODEL_LABEL,
    MANAGED_BY,
    attempt_job_name,
    base_model_repository,
)
from tunegate.reconcile.plan import Plan
from tunegate.registry.credentials import site_configuration
from tunegate.registry.tokens import Access, mint

CREDENTIAL_LIFETIME = timedelta(hours=12)
"""Longer than the hashing of the largest model: 140 GB take minutes."""
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"


class BaseModelController:
    """Reconciles base models of the catalogue."""

    kind: ClassVar[str] = BaseModel.KIND.kind
    manager: ClassVar[str] = FIELD_MANAGER
    shows_progress: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._settings = services.settings
        self._results_reader = ResultReader(services.registry, services.registry_threads)
        self._signer = services.signer

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Observe and plan; None when the object is gone."""
        raw = await self._kube.get(ObjectRef(API_VERSION, self.kind, key.name))
        if raw is None:
            return None
        model = understood(BaseModel, raw)
        attempts = await self._attempts(model)
        now = datetime.now(UTC)
        seen = Observed(
            raw=raw,
            model=model,
            claim_exists=await self._claim_exists(model),
            attempts=attempts,
            results=await self._results(model, attempts),
            docker_config=await asyncio.to_thread(self._docker_config, model, now),
        )
        return plan(seen, self._settings, now)

    async def _attempts(self, model: BaseModel) -> tuple[Attempt, ...]:
        """Return the attempts that this very object owns; a pod counts by its Job, or by the name of one that is gone."""
        namespace = self._settings.system_namespace
        labels = {MANAGED_BY_LABEL: MANAGED_BY, BASE_MODEL_LABEL: model.name}
        listed = await self._kube.list("batch/v1", "Job", namespace, labels=labels)
        jobs = [job for job in listed if controller_uid(job) == model.uid]
        uids = {job["metadata"]["uid"] for job in jobs}
        pods = await self._kube.list("v1", "Pod", namespace, labels=labels)
        there = {job["metadata"]["name"] for job in listed}
        found = []
        for number in sorted({_number(obj) for obj in [*jobs, *pods]}):
            name = attempt_job_name(model.name, STAGE, number, model.uid)
            job = next((job for job in jobs if job["metadata"]["name"] == name), None)
            own = tuple(
                pod
                for pod in pods
                if pod["metadata"]["labels"].get(JOB_NAME_LABEL) == name
                and (controller_uid(pod) in uids if job is not None else name not in there)
            )
            if job is not None or own:
                found.append(Attempt(STAGE, number, job, own))
        return tuple(found)

    async def _claim_exists(self, model: BaseModel) -> bool:
        if not model.spec.source.startswith(SCHEME):
            return False
        claim = claim_path(model.spec.source).claim
        ref = ObjectRef("v1", "PersistentVolumeClaim", claim, self._settings.system_namespace)
        return await self._kube.get(ref) is not None

    async def _results(self, model: BaseModel, attempts: tuple[Attempt, ...]) -> Mapping[str, StageResult | LostResult]:
        """Read every result that a pod names. One that can't be read for now is left out."""
        repository = f"{base_model_repository(model.name)}/results"
        digests = {found for attempt in attempts for pod in attempt.pods if (found := _result_digest(pod))}
        read = {digest: await self._results_reader.read(repository, digest) for digest in sorted(digests)}
        return {digest: result for digest, result in read.items() if result is not None}

    def _docker_config(self, model: BaseModel, now: datetime) -> str:
        """Return the credential for an attempt: limited to the model's results where the operator signs itself."""
        if self._signer is not None:
            access = [Access(f"{base_model_repository(model.name)}/results", ("pull", "push"))]
            subject = f"basemodel/{model.name}"
            return mint(
                self._signer,
                self._settings.registry_host,
                access,
                subject=subject,
                lifetime=CREDENTIAL_LIFETIME,
                now=now,
            )
        return site_configuration(self._settings.registry_auth_file)


def _number(obj: Mapping[str, Any]) -> int:
    text = str(obj["metadata"]["labels"].get(ATTEMPT_LABEL, ""))
    return int(text) if text.isdigit() else 0


def _result_digest(pod: Mapping[str, Any]) -> str | None:
    message = (container_state(pod, STAGE_CONTAINER).get("terminated") or {}).get("message") or ""
    try:
        return Termination.model_validate_json(message).result_digest
    except ValidationError:
        return None
