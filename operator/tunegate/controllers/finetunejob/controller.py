"""Controller of FineTuneJob: reads everything live that the planner decides from."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.ends import ProgressReport
from tunegate.api.stage.results import BaselineResult
from tunegate.controllers.approvals import read_approvals, still_backed
from tunegate.controllers.documents import ResultReader
from tunegate.controllers.finetunejob.progress import ProgressPoller
from tunegate.controllers.finetunejob.pushed import PushedReader, pushed_repositories
from tunegate.controllers.finetunejob.refusals import pod_refusal
from tunegate.controllers.finetunejob.surroundings import Surroundings
from tunegate.controllers.reading import read
from tunegate.controllers.removals import Removals
from tunegate.controllers.services import Services
from tunegate.controllers.suite_tries import tries_of
from tunegate.kube.client import FIELD_MANAGER, ObjectKey, ObjectRef
from tunegate.kube.likeness import controller_uid
from tunegate.manifests.workspace import credential_of
from tunegate.reconcile.attempt.attempt import first_pod, named_result
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.finetunejob.inputs import needed_claims
from tunegate.reconcile.finetunejob.observed import Observed, ReusableBaseline, StageSettings
from tunegate.reconcile.finetunejob.planner import has_to_stop, plan, plan_stop
from tunegate.reconcile.finetunejob.reuse import measured_by, wanted_baseline
from tunegate.reconcile.finetunejob.suites import comparable, further_claims
from tunegate.reconcile.naming import (
    ATTEMPT_LABEL,
    JOB_UID_LABEL,
    STAGE_LABEL,
    checkpoint_secret_name,
    job_repository,
    registry_secret_name,
    stage_repository,
    workspace_claim_name,
)
from tunegate.reconcile.plan import Plan
from tunegate.registry.credentials import site_configuration
from tunegate.registry.tokens import Access, expiry, mint, names
from tunegate.settings import Settings

CREDENTIAL_LIFETIME = timedelta(hours=6)
"""A stage may run for days: the Secret is renewed at half of this, and the kubelet brings it into the running pod."""
CHECKPOINT_KEY_BYTES = 32
BASELINES = 4
"""Jobs that are read in search of a baseline, the newest first: one that was deleted meanwhile is none."""


class FineTuneJobController:
    """Runs jobs; the only writer of a job's status but for what lineage adds."""

    kind: ClassVar[str] = FineTuneJob.KIND.kind
    manager: ClassVar[str] = FIELD_MANAGER
    shows_progress: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._settings = services.settings
        self._signer = services.signer
        self._ledger = services.ledger
        self._measurements = services.measurements
        self._results = ResultReader(services.registry, services.registry_threads)
        self._pushed = PushedReader(services.registry, services.registry_threads)
        self._surroundings = Surroundings(services, self._results)
        self._progress = ProgressPoller()
        self._removals = Removals(services)
        self._stage_settings = stage_settings(services.settings)

    async def stop(self, key: ObjectKey) -> Plan | None:
        """Return the step that ends what runs of a suspended or deleted job; its status and its records follow."""
        if self._settings.policy_of(key.namespace) is None:
            return None
        job = await read(self._kube, FineTuneJob, key.name, key.namespace)
        return await self._stopping(job) if job is not None else None

    async def _stopping(self, job: FineTuneJob) -> Plan | None:
        if not has_to_stop(job):
            return None
        jobs = await self._kube.list("batch/v1", "Job", job.namespace, labels={JOB_UID_LABEL: job.uid})
        return plan_stop(job, [one for one in jobs if controller_uid(one) == job.uid])

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Observe and plan; None when the job is gone or its namespace is not governed."""
        if self._settings.policy_of(key.namespace) is None:
            return None
        job = await read(self._kube, FineTuneJob, key.name, key.namespace)
        if job is None:
            return None
        if (stopping := await self._stopping(job)) is not None:
            return stopping
        if (removing := await self._removals.plan(job)) is not None:
            return removing
        now = datetime.now(UTC)
        return plan(await self._observe(job, now), now, self._stage_settings)

    async def _observe(self, job: FineTuneJob, now: datetime) -> Observed:
        (jobs, pods), credential, checkpoint, workspace, shared = await asyncio.gather(
            self._attempts(job),
            self._credential(job, now),
            self._checkpoint_secret(job),
            self._workspace(job),
            self._shared(job),
        )
        running = [stage for stage in job.status.stages if stage.state == "Running"]
        facts: dict[str, Any] = {"job": job, "jobs": tuple(jobs), "pods": tuple(pods), **shared}
        if job.status.ended and job.status.suite_tries is None:
            facts["tries"] = await tries_of(self._ledger, job)
        if not job.status.ended:
            facts["results"] = await self._read_results(job, pods)
            facts |= await self._decisions(job)
            if running:
                stage = running[0]
                there = [pod for pod in pods if _is_of(pod, stage.name, stage.attempt)]
                facts["progress"] = await self._ask(first_pod(there))
                made = next((one for one in jobs if _is_of(one, stage.name, stage.attempt)), None)
                facts["pod_refusal"] = await pod_refusal(self._kube, made, there)
            else:
                facts |= await self._surroundings.inputs(job, facts.get("server"), facts["policy"], now)
                facts |= await self._pushes(Observed(**facts), now)
        exists, fresh = credential
        facts |= {"credential_exists": exists, "fresh_credential": fresh, "checkpoint_secret": checkpoint}
        facts["claims"] = workspace | await self._claims(Observed(**facts))
        facts["fresh_checkpoint_key"] = secrets.token_bytes(CHECKPOINT_KEY_BYTES)
        seen = Observed(**facts)
        return replace(seen, earlier=await self._earlier(seen))

    async def _attempts(self, job: FineTuneJob) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Read the job's batch/v1 Jobs and pods.

        Pods after Jobs: a Job that is over must not be judged by pods of an earlier moment.
        """
        labels = {JOB_UID_LABEL: job.uid}
        jobs = await self._kube.list("batch/v1", "Job", job.namespace, labels=labels)
        pods = await self._kube.list("v1", "Pod", job.namespace, labels=labels)
        return _own(job, jobs, pods)

    async def _shared(self, job: FineTuneJob) -> dict[str, Any]:
        if job.status.ended:
            return {}
        return await self._surroundings.places(job) | await self._surroundings.rules(job)

    async def _decisions(self, job: FineTuneJob) -> dict[str, Any]:
        """Read what people decided, while the job waits for a waiver."""
        waiver = job.status.waiver
        if waiver is None or waiver.granted_time is not None:
            return {}
        decisions = await read_approvals(self._kube, job)
        authorized = await still_backed(self._kube, job, decisions.approvals, waiver.digest)
        return {"approvals": decisions.approvals, "unreadable": decisions.unreadable, "authorized": authorized}

    async def _pushes(self, seen: Observed, now: datetime) -> dict[str, Any]:
        """Read what the registry says of pushed data that the job and the suites name."""
        takes = self._signer is not None
        others = comparable(seen.job, seen.policy, seen.other_suites) if seen.policy else []
        found = await self._pushed.read(seen.job, seen.suite, others) if takes else {}
        return {"takes_pushes": takes, "pushed": found, "today": now.date().isoformat()}

    async def _checkpoint_secret(self, job: FineTuneJob) -> Json | None:
        return await self._kube.get(ObjectRef("v1", "Secret", checkpoint_secret_name(job.name, job.uid), job.namespace))

    async def _workspace(self, job: FineTuneJob) -> dict[str, Json]:
        """Read the job's own claim, by its name; nothing where somebody else's stands there."""
        name = workspace_claim_name(job.name, job.uid)
        claim = await self._kube.get(ObjectRef("v1", "PersistentVolumeClaim", name, job.namespace))
        return {name: claim} if claim is not None and controller_uid(claim) == job.uid else {}

    async def _claims(self, seen: Observed) -> dict[str, Json]:
        """Read the claims that the inputs lie on, by their names."""
        if seen.base_model is None and seen.suite is None:
            return {}
        workspace = workspace_claim_name(seen.job.name, seen.job.uid)
        names = [name for name in (*needed_claims(seen), *further_claims(seen).values()) if name != workspace]
        found = {name: await self._surroundings.claim(name, seen.job.namespace) for name in dict.fromkeys(names)}
        return {name: claim for name, claim in found.items() if claim is not None}

    async def _read_results(self, job: FineTuneJob, pods: list[dict[str, Any]]) -> dict[str, Any]:
        """Read the results that pods name, and those that later stages are configured from."""
        digests = {digest for pod in pods if (digest := named_result(pod))}
        kept = ("Validate", "Train", "Seal")
        digests |= {stage.result_digest for stage in job.status.stages if stage.name in kept and stage.result_digest}
        repository = f"{job_repository(job.namespace, job.name, job.uid)}/results"
        found = {digest: await self._results.read(repository, digest) for digest in sorted(digests)}
        return {digest: result for digest, result in found.items() if result is not None}

    async def _earlier(self, seen: Observed) -> ReusableBaseline | None:
        """Look for a job of the namespace that has measured the baseline with the same inputs."""
        wanted = wanted_baseline(seen, self._stage_settings)
        if wanted is None:
            return None
        named = self._measurements.baselines(seen.job.namespace, wanted)
        others = [await read(self._kube, FineTuneJob, one.job, one.namespace) for one in named[:BASELINES]]
        found = measured_by(wanted, seen.job, [other for other in others if other is not None])
        stage = found.status.stage("Baseline") if found is not None else None
        if found is None or stage is None or stage.result_digest is None:
            return None
        repository = stage_repository(found, "Baseline")
        result = await self._results.read(f"{repository}/results", stage.result_digest)
        if not isinstance(result, BaselineResult):
            return None
        return ReusableBaseline(
            found.name, repository, wanted, stage.result_digest, result, stage.config_digest, tuple(stage.images)
        )

    async def _ask(self, pod: Json | None) -> ProgressReport | None:
        return None if pod is None else await self._progress.ask(pod)

    async def _credential(self, job: FineTuneJob, now: datetime) -> tuple[bool, str | None]:
        """Return whether the job's registry Secret exists, and new content for it when that is due."""
        ref = ObjectRef("v1", "Secret", registry_secret_name(job.name, job.uid), job.namespace)
        secret = await self._kube.get(ref)
        own = secret is not None and controller_uid(secret) == job.uid
        if job.status.ended:
            return own, None
        kept = credential_of(secret) if secret is not None and own else None
        suites = await self._surroundings.suites(job)
        return secret is not None, await asyncio.to_thread(self._renewed, job, suites, kept, now)

    def _renewed(
        self, job: FineTuneJob, suites: Sequence[EvaluationSuite], kept: str | None, now: datetime
    ) -> str | None:
        """Return a new Docker configuration, or None while ``kept`` will do."""
        settings = self._settings
        if self._signer is None:
            content = site_configuration(settings.registry_auth_file)
            return None if content == kept else content
        prefix = job_repository(job.namespace, job.name, job.uid)
        access = [Access(f"{prefix}/{part}", ("pull", "push")) for part in ("results", "data", "answers", "adapter")]
        elsewhere = {stage.repository for stage in job.status.stages if stage.repository}
        access += [
            Access(f"{place}/{part}", ("pull",)) for place in sorted(elsewhere) for part in ("results", "answers")
        ]
        access += [Access(repository, ("pull",)) for repository in pushed_repositories(job, suites)]
        subject = f"finetunejob/{job.namespace}/{job.name}"
        host = settings.registry_host
        until = expiry(kept, host) if kept else None
        # A suite that was made meanwhile, or whose questions are now needed, is read with a new credential.
        if until is not None and until - now > CREDENTIAL_LIFETIME / 2 and names(str(kept), host, access):
            return None
        return mint(self._signer, host, access, subject=subject, lifetime=CREDENTIAL_LIFETIME, now=now)


def stage_settings(settings: Settings) -> StageSettings:
    """Return the part of the settings that stage pods are made from."""
    return StageSettings(
        trainer_image=settings.trainer_image,
        registry_host=settings.registry_host,
        registry_plain_http=settings.registry_plain_http,
        pull_secrets=settings.image_pull_secrets,
    )


def _own(
    job: FineTuneJob, jobs: Sequence[dict[str, Any]], pods: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the Jobs that this very FineTuneJob owns, and their pods; a label alone makes nothing count.

    A pod whose Job is gone counts too: it may still run, or have said how it ended.
    """
    own = [one for one in jobs if controller_uid(one) == job.uid]
    uids = {one["metadata"]["uid"] for one in own}
    there = {one["metadata"]["name"] for one in jobs}
    return own, [pod for pod in pods if controller_uid(pod) in uids or _left_by_a_job(pod, there)]


def _left_by_a_job(pod: Json, there: Collection[str]) -> bool:
    owners = [owner for owner in pod["metadata"].get("ownerReferences") or [] if owner.get("controller")]
    return any(owner["kind"] == "Job" and owner["name"] not in there for owner in owners)


def _is_of(pod: Mapping[str, Any], stage: str, attempt: int) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return labels.get(STAGE_LABEL) == stage and labels.get(ATTEMPT_LABEL) == str(attempt)
