"""Planner of a BaseModel: have its files hashed once, and record what was found.

The stage `hash` runs in the system namespace, in attempts that are created and never changed. A verdict is final: the
spec cannot change, so neither can the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from tunegate.api.basemodel import BaseModel, BaseModelStatus
from tunegate.api.conditions import OBJECTS_IN_PLACE, Condition, ConditionStatus, rfc3339, set_condition
from tunegate.api.markers import MANAGED_BY_LABEL, RESERVED, TEXT_CHARACTERS
from tunegate.api.numbers import count_of
from tunegate.api.reasons import CatalogueReason, StageReason
from tunegate.api.shared import Resources
from tunegate.api.stage.configs import HashConfig, JobIdentity, RegistryTarget
from tunegate.api.stage.layout import BASE_MODEL_MOUNT
from tunegate.api.stage.results import HashResult, StageResult
from tunegate.digests import manifest_digest
from tunegate.kube.references import ObjectRef
from tunegate.manifests.downloads import Download
from tunegate.manifests.sources import ClaimMount, ClaimPath, model_path
from tunegate.manifests.stage_job import StageJob, config_map_name, stage_objects
from tunegate.manifests.workspace import credential_secret
from tunegate.reconcile.attempt.attempt import Attempt, config_digest_of
from tunegate.reconcile.attempt.lost_result import LostResult
from tunegate.reconcile.attempt.placement import place
from tunegate.reconcile.attempt.pod_end import MOVED_AWAY, OUTSIDE, Ended
from tunegate.reconcile.attempt.verdict import OnItsWay, judge
from tunegate.reconcile.hub_mirror import copied_model, without_mirror
from tunegate.reconcile.naming import (
    ATTEMPT_LABEL,
    BASE_MODEL_LABEL,
    CA_CONFIG_MAP,
    MANAGED_BY,
    STAGE_LABEL,
    STAGE_SERVICE_ACCOUNT,
    attempt_job_name,
    base_model_repository,
    owner_reference,
)
from tunegate.reconcile.plan import EventNote, Plan
from tunegate.settings import Settings

STAGE = "Hash"
MAX_ATTEMPTS = 5
"""Attempts without a verdict after which a person has to look."""
FIRST_PAUSE = 10.0
LONGEST_PAUSE = 300.0
"""Seconds before the second attempt, doubled before each further one, up to the longest."""
LOOK_AGAIN = 3.0
"""Seconds between looks at a running attempt: the system namespace is not watched."""
RESOURCES = Resources(cpu="500m", memory="1Gi")
Phase = Literal["Pending", "Hashing", "Ready", "Failed"]


@dataclass(frozen=True)
class Observed:
    """A BaseModel and what there is of its hashing."""

    raw: Mapping[str, Any]
    model: BaseModel
    claim_exists: bool
    attempts: tuple[Attempt, ...]
    """In the order of their numbers."""
    results: Mapping[str, StageResult | LostResult]
    docker_config: str
    """Credential for the next attempt."""


def plan(seen: Observed, settings: Settings, now: datetime) -> Plan:
    """Return the next step. Pure: same input, same plan."""
    if seen.model.metadata.get("deletionTimestamp"):
        return Plan()
    if seen.model.status.phase == "Ready":
        return Plan(deletes=tuple(ref for attempt in seen.attempts for ref in _children(seen, attempt, settings)))
    if seen.model.status.phase == "Failed":
        return Plan()
    if seen.attempts:
        return _after(seen, seen.attempts[-1], settings, now)
    return _begin(seen, max(seen.model.status.attempts, 0) + 1, settings, now)


def _begin(seen: Observed, number: int, settings: Settings, now: datetime) -> Plan:
    """Start attempt ``number``, once the claim with the files is there, or a mirror is named."""
    waits = _missing(seen, settings)
    if waits is not None:
        return waits.plan(seen, now, requeue_after=30.0, attempts=number - 1)
    message = f"Hashing the files at {seen.model.spec.source} (attempt {number})."
    report = _Report("Hashing", "Unknown", CatalogueReason.HASHING, message)
    creates = tuple(_attempt_objects(seen, number, settings))
    return report.plan(seen, now, requeue_after=LOOK_AGAIN, attempts=number, creates=creates)


def _missing(seen: Observed, settings: Settings) -> _Report | None:
    source = model_path(seen.model.spec.source)
    if isinstance(source, ClaimPath) and not seen.claim_exists:
        message = (
            f"PersistentVolumeClaim {source.claim} is not in namespace {settings.system_namespace}: create it there, "
            f"with the model's files at {source.path}"
        )
        return _Report("Pending", "False", CatalogueReason.WAITING_FOR_VOLUME, message)
    missing = without_mirror(seen.model, settings.hub_endpoint)
    return None if missing is None else _Report("Pending", "False", CatalogueReason.WAITING_FOR_MIRROR, missing)


def _after(seen: Observed, last: Attempt, settings: Settings, now: datetime) -> Plan:
    """Go on from the newest attempt: wait for it, take its verdict, or try once more."""
    end = judge(last, seen.results, now)
    if isinstance(end, OnItsWay):
        message = f"Hashing the files at {seen.model.spec.source} (attempt {last.number}): {place(last, 1).message.rstrip('.')}."
        report = _Report("Hashing", "Unknown", CatalogueReason.HASHING, message)
        return report.plan(seen, now, requeue_after=LOOK_AGAIN, attempts=last.number)
    if not isinstance(end, Ended):
        message = f"The files are hashed; the result {end.digest} cannot be read from the registry yet."
        report = _Report("Hashing", "Unknown", CatalogueReason.WAITING_FOR_RESULT, message)
        return report.plan(seen, now, requeue_after=10.0, attempts=last.number)
    if isinstance(end.result, HashResult) and (differs := _difference(end.result, last)) is not None:
        return _try_again(seen, Ended(StageReason.RESULT_DIFFERS, differs), last, settings, now)
    if isinstance(end.result, HashResult) and end.result_digest is not None:
        return _verdict(seen, end.result, end.result_digest, last.number, now)
    return _try_again(seen, end, last, settings, now)


def _difference(result: HashResult, attempt: Attempt) -> str | None:
    """Return which field of a result is another than what the attempt was made for, or than what the result lists."""
    listed = manifest_digest(result.manifest)
    for name, planned, found in (
        ("configDigest", config_digest_of(attempt), result.config_digest),
        ("inputs.baseModel", listed, result.inputs.base_model),
        ("manifestDigest", listed, result.manifest_digest),
    ):
        if planned is None or planned != found:
            return f"its result names another {name}: planned {planned or 'none'}, found {found or 'none'}"
    return None


def _verdict(seen: Observed, result: HashResult, digest: str, attempts: int, now: datetime) -> Plan:
    expected = seen.model.spec.expected_manifest_digest
    if expected not in (None, result.manifest_digest):
        reason = CatalogueReason.DIGEST_MISMATCH
        why = f"its manifest is {result.manifest_digest}, expected {expected}"
    elif result.outcome == "Refused":
        reason = CatalogueReason.HASH_REFUSED
        why = "; ".join(finding.message for finding in result.findings) or "the stage gave no finding"
    else:
        message = f"{count_of(len(result.manifest.files), 'file')}, {result.bytes} bytes, {result.parameters} weights."
        report = _Report("Ready", "True", CatalogueReason.HASHED, message)
        found: dict[str, Any] = {
            "manifest_digest": result.manifest_digest,
            "files": len(result.manifest.files),
            "bytes": result.bytes,
            "parameters": result.parameters,
        }
        return report.plan(seen, now, attempts=attempts, result_digest=digest, **found)
    return _failed(seen, reason, f"Refused: {why}", now, attempts=attempts, result_digest=digest)


def _try_again(seen: Observed, end: Ended, last: Attempt, settings: Settings, now: datetime) -> Plan:
    told = f"{end.reason}: {end.message}" if end.message else str(end.reason)
    if end.reason is StageReason.BAD_INPUT:
        return _failed(seen, CatalogueReason.BAD_INPUT, told, now, attempts=last.number)
    # An outage of the registry, however long, is no fault of the model.
    if last.number >= MAX_ATTEMPTS and end.reason not in OUTSIDE:
        message = f"{last.number} attempts ended without a verdict, the last with {told}"
        return _failed(seen, CatalogueReason.ERROR_BUDGET_SPENT, message, now, attempts=last.number)
    pause = 0.0 if end.reason in MOVED_AWAY else min(FIRST_PAUSE * 2.0 ** min(last.number - 1, 10), LONGEST_PAUSE)
    left = (_ended_at(last, now) + timedelta(seconds=pause) - now).total_seconds()
    if left > 0:
        message = f"Attempt {last.number} ended with {told}. The next begins {pause:g} s after that end."
        report = _Report("Hashing", "Unknown", CatalogueReason.HASHING, message)
        return report.plan(seen, now, requeue_after=left, attempts=last.number)
    return _begin(seen, last.number + 1, settings, now)


def _failed(seen: Observed, reason: CatalogueReason, why: str, now: datetime, **fields: Any) -> Plan:
    spent = reason is CatalogueReason.ERROR_BUDGET_SPENT
    advice = (
        f"{'Remove the cause' if spent else 'Put the files right'} and create a new BaseModel: this one stays as it is."
    )
    report = _Report("Failed", "False", reason, f"{why}. {advice}")
    return report.plan(seen, now, failure=why[:TEXT_CHARACTERS], **fields)


@dataclass(frozen=True)
class _Report:
    phase: Phase
    ready: ConditionStatus
    reason: CatalogueReason
    message: str

    def plan(
        self,
        seen: Observed,
        now: datetime,
        *,
        requeue_after: float | None = None,
        creates: Sequence[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> Plan:
        """Return the plan that writes this report, with an event when the phase changes."""
        old = seen.model.status
        condition = Condition(
            type="Ready",
            status=self.ready,
            reason=self.reason,
            message=self.message,
            last_transition_time=rfc3339(now),
            observed_generation=seen.model.generation,
        )
        status = BaseModelStatus(
            observed_generation=seen.model.generation,
            message=self.message[:TEXT_CHARACTERS],
            conditions=set_condition([one for one in old.conditions if one.type != OBJECTS_IN_PLACE], condition),
            phase=self.phase,
            **fields,
        )
        events: tuple[EventNote, ...] = ()
        if old.phase != self.phase:
            events = (EventNote("Warning" if self.phase == "Failed" else "Normal", self.reason, self.message),)
        return Plan(
            creates=tuple(creates),
            status=status.to_dict(),
            events=events,
            requeue_after=requeue_after,
            uid=seen.model.uid,
        )


def _attempt_objects(seen: Observed, number: int, settings: Settings) -> list[dict[str, Any]]:
    model = seen.model
    name = attempt_job_name(model.name, STAGE, number, model.uid)
    namespace = settings.system_namespace
    labels = attempt_labels(model.name, number)
    owner = owner_reference(seen.raw)
    source = model_path(model.spec.source)
    identity = JobIdentity(namespace=namespace, name=model.name, uid=model.uid, attempt=number)
    registry = RegistryTarget(
        host=settings.registry_host,
        plain_http=settings.registry_plain_http,
        repository=base_model_repository(model.name),
    )
    config = HashConfig(
        job=identity,
        registry=registry,
        path=source.below(BASE_MODEL_MOUNT),
        expected_manifest_digest=model.spec.expected_manifest_digest,
    )
    mounts: tuple[ClaimMount, ...] = ()
    downloads: tuple[Download, ...] = ()
    if isinstance(source, ClaimPath):
        mounts = (ClaimMount(source.claim, BASE_MODEL_MOUNT),)
    else:
        downloads = (copied_model(model, source, settings.hub_endpoint, identity, registry, None),)
    job = StageJob(
        name=name,
        namespace=namespace,
        stage=STAGE,
        labels=labels,
        owner=owner,
        image=settings.trainer_image,
        service_account=STAGE_SERVICE_ACCOUNT,
        config=config.to_dict(),
        registry_secret=credential_name(name),
        ca_config_map=CA_CONFIG_MAP,
        resources=RESOURCES,
        mounts=mounts,
        downloads=downloads,
        pull_secrets=settings.image_pull_secrets,
    )
    secret = credential_secret(
        job.registry_secret, namespace, docker_config=seen.docker_config, labels=labels, owner=owner
    )
    return [secret, *stage_objects(job)]


def attempt_labels(name: str, number: int) -> dict[str, str]:
    """Return the labels of an attempt's objects."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        BASE_MODEL_LABEL: name,
        STAGE_LABEL: STAGE,
        ATTEMPT_LABEL: str(number),
    }


def _children(seen: Observed, attempt: Attempt, settings: Settings) -> list[ObjectRef]:
    """Return what an attempt left behind; its Job takes the pod along."""
    name = attempt_job_name(seen.model.name, STAGE, attempt.number, seen.model.uid)
    namespace = settings.system_namespace
    return [
        ObjectRef("batch/v1", "Job", name, namespace),
        ObjectRef("v1", "ConfigMap", config_map_name(name), namespace),
        ObjectRef("v1", "Secret", credential_name(name), namespace),
    ]


def credential_name(attempt: str) -> str:
    """Return the name of the Secret with an attempt's registry credential."""
    return f"{RESERVED}registry-{attempt}"


def _ended_at(attempt: Attempt, now: datetime) -> datetime:
    conditions = ((attempt.job or {}).get("status") or {}).get("conditions") or []
    times = [
        c["lastTransitionTime"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"
    ]
    return datetime.fromisoformat(max(times)) if times else now
