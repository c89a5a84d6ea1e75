"""Is a stage's result about what was planned? Field by field, for every stage alike.

A result names the configuration that its stage was given and what it really read. Both have to be what this job planned:
a result that differs is never taken, whoever pushed it and whatever ConfigMap its pod was made to read.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.stage.results import (
    BaselineResult,
    EvaluateResult,
    SealResult,
    StageInputs,
    StageResult,
    TrainResult,
    ValidateResult,
)
from tunegate.digests import manifest_digest
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.naming import job_repository

Pair = tuple[str, str | None, str | None]
"""A field of the result, what was planned, and what was found."""


def difference(seen: Observed, stage: StageName, result: StageResult, planned_config: str | None) -> str | None:
    """Return which field of a result is another than what was planned, with both values, or None.

    ``planned_config``: digest of the configuration that the stage was made with.
    """
    for name, planned, found in _pairs(seen, stage, result, planned_config):
        if planned is None or planned != found:
            return f"its result names another {name}: planned {planned or 'none'}, found {found or 'none'}"
    return None


def _pairs(seen: Observed, stage: StageName, result: StageResult, planned_config: str | None) -> Iterator[Pair]:
    yield "configDigest", planned_config, result.config_digest
    planned, found = planned_inputs(seen, stage, result.inputs), result.inputs
    for name, field in StageInputs.model_fields.items():
        ours, theirs = getattr(planned, name), getattr(found, name)
        if ours is not None or theirs is not None:
            yield f"inputs.{field.alias or name}", ours, theirs
    yield from _own_fields(seen.job, result)


def planned_inputs(seen: Observed, stage: StageName, found: StageInputs) -> StageInputs:
    """Return what a stage has to have read. ``found``: validation is the first to see what the job names no digest of."""
    status, spec = seen.job.status, seen.job.spec
    data = status.dataset
    dataset = (data.redacted_digest or data.digest) if data else None
    base = {"base_model": status.base_model_digest}
    judged = {**base, "profile": status.profile_digest, "suite": status.suite_digest, "dataset": dataset}
    match stage:
        case "Validate":
            named = spec.baseline.documents
            return StageInputs(
                **{**judged, "dataset": spec.dataset.digest or found.dataset},
                documents=(named.digest or found.documents) if named else None,
                adapter=found.adapter if spec.source == "Import" else None,
            )
        case "Baseline":
            return StageInputs(**judged, documents=status.documents_digest)
        case "Train":
            return StageInputs(**base, dataset=dataset)
        case "Seal":
            return StageInputs(adapter=unsealed_adapter(seen))
        case "Evaluate":
            return StageInputs(
                **judged,
                adapter=status.adapter.manifest_digest if status.adapter else None,
                baseline_result=status.stage("Baseline").result_digest,
            )


def unsealed_adapter(seen: Observed) -> str | None:
    """Return the digest of the adapter that is to be sealed: what training wrote, or validation read of an import."""
    stage: StageName = "Train" if seen.job.spec.source == "Train" else "Validate"
    result = seen.results.get(seen.job.status.stage(stage).result_digest or "")
    if isinstance(result, TrainResult):
        return result.adapter_digest
    return result.inputs.adapter if isinstance(result, ValidateResult) else None


def _own_fields(job: FineTuneJob, result: StageResult) -> Iterator[Pair]:
    """Yield what a result says of its inputs a second time, for readers of that result alone."""
    status = job.status
    match result:
        case ValidateResult():
            yield "datasetDigest", result.inputs.dataset, result.dataset_digest
            if result.compared_suites:
                yield "comparedSuites[0].digest", status.suite_digest, result.compared_suites[0].digest
            if result.documents_digest or result.inputs.documents:
                yield "documentsDigest", result.inputs.documents, result.documents_digest
        case BaselineResult():
            if result.documents_digest or status.documents_digest:
                yield "documentsDigest", status.documents_digest, result.documents_digest
        case SealResult() if result.outcome == "Passed":
            prefix = job_repository(job.namespace, job.name, job.uid)
            yield "repository", f"{prefix}/adapter", result.repository
            listed = manifest_digest(result.manifest) if result.manifest else None
            yield "manifestDigest", listed, result.manifest_digest
        case EvaluateResult():
            adapter = status.adapter.manifest_digest if status.adapter else None
            yield "adapterManifestDigest", adapter, result.adapter_manifest_digest
            yield "baseModelDigest", status.base_model_digest, result.base_model_digest
            yield "profileDigest", status.profile_digest, result.profile_digest
            yield "suiteDigest", status.suite_digest, result.suite_digest
