"""Planner of lineage: turns jobs and releases into MLflow records, and MLflow's answer into a condition. Pure.

What is written here was decided elsewhere. A job or release never waits for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunegate.api.conditions import Condition, find, rfc3339, set_condition
from tunegate.api.datastatement import DataStatement
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import JobPhase, StageName
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.reasons import JobReason
from tunegate.api.stage.results import (
    BaselineResult,
    EvaluateResult,
    SealResult,
    StageResult,
    TrainResult,
    ValidateResult,
    without_questions,
)
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.reconcile.plan import Plan
from tunegate.release.statement import ReleaseStatement
from tunegate.tracking.croissant import croissant
from tunegate.tracking.records import (
    PHASE_TAG,
    InputData,
    JobRecord,
    MetricPoint,
    ReleaseRecord,
    RunState,
    Written,
    registered_model_name,
)

CONDITION = "LineageRecorded"
FINAL_STATES: dict[JobPhase, RunState] = {"Succeeded": "FINISHED", "Failed": "FAILED"}
VALIDATE_NUMBERS = (
    "rows", "tokens", "duplicates", "overlap_rows", "trainable_parameters", "device_hours", "cost",
)  # fmt: skip
TRAIN_NUMBERS = ("steps", "epochs", "tokens", "training_loss", "seconds")
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
NOT_IN_NAMES = r"[^A-Za-z0-9_. /-]"
LONGEST_METRIC = 200
LONGEST_NAMES = 2048
"""Characters of a payload's value."""


@dataclass(frozen=True)
class Outcome:
    """What MLflow answered: where the record stands, or the reason why it does not yet."""

    written: Written | None
    message: str
    retry_after: float | None = None
    """Seconds until the next try; None: it is recorded."""
    drift: AuditEntry | None = None
    """What somebody changed in MLflow: set right once the ledger holds it."""
    taken: str = ""
    """The name that somebody else took first, so that the record stands under another."""

    @property
    def recorded(self) -> bool:
        """Whether MLflow shows the record."""
        return self.retry_after is None


def job_record(
    job: FineTuneJob,
    results: Mapping[StageName, StageResult],
    data: DataStatement | None = None,
) -> JobRecord:
    """Return the run of a job; ``results`` by stage."""
    status = job.status
    end = _milliseconds(status.completion_time) if status.phase in FINAL_STATES else None
    state: RunState = FINAL_STATES.get(status.phase, "RUNNING") if end is not None else "RUNNING"
    return JobRecord(
        namespace=job.namespace,
        name=job.name,
        uid=job.uid,
        state=state,
        start_ms=_milliseconds(job.metadata["creationTimestamp"]),
        end_ms=end,
        params=_params(job),
        tags=_job_tags(job),
        metrics=tuple(point for name, result in sorted(results.items()) for point in _points(job, name, result)),
        inputs=_inputs(job),
        reports={name: json.dumps(content, indent=2) for name, content in _reports(results, data).items()},
        known_as=status.mlflow_run_id,
    )


def progress_points(job: FineTuneJob, now: datetime) -> tuple[MetricPoint, ...]:
    """Return what a training says of itself now; what it said in all comes with its result."""
    progress = job.status.progress
    if progress is None or progress.loss is None or job.status.stage("Train").state != "Running":
        return ()
    try:
        loss = float(progress.loss)
    except ValueError:
        return ()
    return (MetricPoint("train/loss", loss, int(now.timestamp() * 1000), progress.step),)


def _reports(results: Mapping[StageName, StageResult], data: DataStatement | None) -> dict[str, dict[str, Any]]:
    """Return the documents of a run by file name."""
    found = {f"{name.lower()}.json": without_questions(result) for name, result in sorted(results.items())}
    return {**found, "data-statement.json": data.to_dict(), "croissant.json": croissant(data)} if data else found


def release_record(release: ModelRelease, statement: ReleaseStatement, host: str, run_id: str | None) -> ReleaseRecord:
    """Return the model version of a release; ``host`` is the registry's, ``run_id`` the job's run."""
    adapter, status = statement.adapter, release.status
    tags = {
        "gov.release": f"{release.namespace}/{release.name}",
        "gov.releaseDigest": status.release_digest,
        "gov.manifestDigest": adapter.manifest_digest,
        "gov.phase": status.phase,
        "gov.approvals": status.approvals,
        "gov.approvers": ", ".join(f"{entry.username} ({entry.role})" for entry in status.counted),
        "gov.servedName": status.served_name,
        "gov.evidenceUri": f"oci://{host}/{adapter.repository.rpartition('/')[0]}/results",
        "gov.job": f"{statement.job.name} ({statement.job.uid})",
        "gov.baseModel": f"{statement.base_model.name}@{statement.base_model.manifest_digest}",
        "gov.dataDigest": statement.data.digest,
        "gov.redactedDataDigest": statement.data.redacted_digest,
        "gov.profileDigest": statement.engine.digest,
        "gov.gate": f"{statement.evaluation.outcome} {statement.evaluation.metric} {statement.evaluation.tuned}",
    }
    return ReleaseRecord(
        namespace=release.namespace,
        name=release.name,
        uid=release.uid,
        model=registered_model_name(release.namespace, release.spec.model_name),
        source=f"oci://{host}/{adapter.repository}@{adapter.digest}",
        run_id=run_id,
        description=f"{release.spec.intended_use}\n\nThe cluster's ledger decides what may run; this page shows it.",
        tags={key: value for key, value in tags.items() if value},
        known_as=status.mlflow_model,
    )


def plan_job(job: FineTuneJob, outcome: Outcome, now: datetime) -> Plan:
    """Return the status that this writer owns on a job."""
    run_id = outcome.written.identifier if outcome.written else job.status.mlflow_run_id
    return _plan(job, {"mlflowRunId": run_id} if run_id else {}, outcome, now)


def plan_release(release: ModelRelease, outcome: Outcome, now: datetime) -> Plan:
    """Return the status that this writer owns on a release."""
    status, written = release.status, outcome.written
    version = written.identifier if written else status.mlflow_version
    model = written.name if written else status.mlflow_model
    known = {"mlflowVersion": version, "mlflowModel": model}
    return _plan(release, {key: value for key, value in known.items() if value}, outcome, now)


def drift(obj: FineTuneJob | ModelRelease, names: Sequence[str], now: datetime) -> AuditEntry:
    """Return the entry for what somebody changed in MLflow: names of tags and the like, and never their values."""
    subject = AuditSubject(obj.kind, obj.namespace, obj.name, obj.uid)
    text = ", ".join(names)[:LONGEST_NAMES]
    # A name that is taken stays so: it is told once for each object, whoever asks and how often.
    key = text if all(name.startswith("name ") for name in names) else f"{rfc3339(now)} {text}"
    return AuditEntry("TrackingDrift", OPERATOR, subject, key=key, payload={"changed": text})


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return float(min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))


def _plan(obj: FineTuneJob | ModelRelease, fields: dict[str, Any], outcome: Outcome, now: datetime) -> Plan:
    if outcome.drift is not None:
        return Plan(audit=(outcome.drift,), requeue_after=outcome.retry_after, uid=obj.uid)
    new = Condition(
        type=CONDITION,
        status="True" if outcome.recorded else "False",
        reason=_reason(outcome),
        message=outcome.message,
        last_transition_time=rfc3339(now),
        observed_generation=obj.generation,
    )
    old = find(obj.status.conditions, CONDITION)
    condition = set_condition([old] if old else [], new)[0]
    return Plan(
        status={**fields, "conditions": [condition.to_dict()]},
        requeue_after=outcome.retry_after,
        uid=obj.uid,
    )


def _reason(outcome: Outcome) -> JobReason:
    if not outcome.recorded:
        return JobReason.TRACKING_UNAVAILABLE
    return JobReason.NAME_TAKEN if outcome.taken else JobReason.RECORDED


def _params(job: FineTuneJob) -> dict[str, str]:
    spec, status = job.spec, job.status
    facts: dict[str, Any] = {
        "source": spec.source,
        "server": spec.server_ref.name,
        "suite": spec.suite_ref.name,
        "taskType": spec.intent.task_type,
        "dataset.uri": spec.dataset.uri,
        "dataset.digest": status.dataset.digest if status.dataset else spec.dataset.digest,
        "dataset.redactedDigest": status.dataset.redacted_digest if status.dataset else None,
        "dataset.classification": spec.dataset.classification,
        "dataset.license": spec.dataset.license,
        "dataset.expirationDate": spec.dataset.expiration_date,
        "base.digest": status.base_model_digest,
        "profile.digest": status.profile_digest,
        "suite.digest": status.suite_digest,
        "documents.uri": spec.baseline.documents.uri if spec.baseline.documents else None,
        "documents.digest": status.documents_digest,
    }
    if spec.method is not None:
        facts |= {f"method.{key}": value for key, value in spec.method.to_dict().items()}
    facts |= {
        f"image.{stage.name.lower()}.{one.container}": one.reference for stage in status.stages for one in stage.images
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


def _job_tags(job: FineTuneJob) -> dict[str, str]:
    status = job.status
    facts = {
        "tunegate.job": f"{job.namespace}/{job.name}",
        "tunegate.requestedBy": job.spec.requested_by.username,
        PHASE_TAG: status.phase,
        "tunegate.gate": status.gate.outcome if status.gate else None,
        "tunegate.adapter": f"{status.adapter.repository}@{status.adapter.digest}" if status.adapter else None,
        "tunegate.adapterManifest": status.adapter.manifest_digest if status.adapter else None,
        "tunegate.deviceHours": status.device_hours,
        "tunegate.cost": f"{status.cost} {status.pool.currency}" if status.cost and status.pool else None,
    }
    return {key: value for key, value in facts.items() if value}


def _inputs(job: FineTuneJob) -> tuple[InputData, ...]:
    dataset, data = job.spec.dataset, job.status.dataset
    digest = data.digest if data else dataset.digest
    found = []
    if data and data.redacted_digest:
        found.append(InputData("training data", data.redacted_digest, f"{dataset.uri} (redacted)", "training"))
    elif digest:
        found.append(InputData("training data", digest, dataset.uri, "training"))
    if job.status.suite_digest:
        found.append(InputData(f"suite {job.spec.suite_ref.name}", job.status.suite_digest, "suite", "evaluation"))
    documents = job.spec.baseline.documents
    if documents and job.status.documents_digest:
        found.append(InputData("documents", job.status.documents_digest, documents.uri, "evaluation"))
    return tuple(found)


def _points(job: FineTuneJob, stage: StageName, result: StageResult) -> Iterator[MetricPoint]:
    moment = job.status.stage(stage).completion_time
    time_ms = _milliseconds(moment or job.metadata["creationTimestamp"])
    for name, value in _numbers(result):
        yield MetricPoint(f"result.{name}", value, time_ms)
    if isinstance(result, TrainResult):
        # What was expected stands beside it: result.validate.device_hours and result.validate.cost.
        for name, used in (("device_hours", job.status.device_hours), ("cost", job.status.cost)):
            if used is not None:
                yield MetricPoint(f"result.train.{name}", float(used), time_ms)
        for kind, history in (("loss", result.loss_history), ("developmentLoss", result.development_history)):
            for step, loss in history:
                yield MetricPoint(f"result.train.{kind}", loss, time_ms, step)


def _numbers(result: StageResult) -> Iterator[tuple[str, float]]:
    match result:
        case ValidateResult():
            for name in VALIDATE_NUMBERS:
                value = getattr(result, name)
                if value is not None:  # a check that was off has no number
                    yield f"validate.{name}", float(value)
        case BaselineResult():
            for arm in result.arms:
                for metric, value in arm.scores.items():
                    yield f"{arm.name}.{metric}", value
                yield from _classes(arm.name, arm.class_scores)
        case TrainResult():
            for name in TRAIN_NUMBERS:
                yield f"train.{name}", float(getattr(result, name))
        case SealResult():
            yield "seal.bytes", float(result.bytes)
        case EvaluateResult():
            for metric, value in result.tuned.items():
                yield f"Tuned.{metric}", value
            yield from _classes("Tuned", result.tuned_classes)
            for verdict in result.arms:
                for part in ("difference", "lower", "upper"):
                    yield f"gate.{verdict.name}.{part}", float(getattr(verdict, part))


def _classes(arm: str, scores: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Return F1 of each class under names that MLflow accepts."""
    for label, value in scores.items():
        yield f"{arm}.F1.{re.sub(NOT_IN_NAMES, '_', label)}"[:LONGEST_METRIC], value


def _milliseconds(moment: str | None) -> int:
    """Return a time of the API server as milliseconds since 1970."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000) if moment else 0
