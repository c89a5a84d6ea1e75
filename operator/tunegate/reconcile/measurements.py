"""What one job has measured, read from the object as the API server gives it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from tunegate.api.computepool import MeasuredRun
from tunegate.api.shared import MethodType

METHODS: tuple[MethodType, ...] = get_args(MethodType)


@dataclass(frozen=True, slots=True)
class PoolRun:
    """A training's throughput on a pool."""

    pool: str
    method: MethodType
    run: MeasuredRun


@dataclass(frozen=True, slots=True)
class JobMeasurements:
    """The measurements of one job."""

    namespace: str
    job: str
    uid: str
    run: PoolRun | None = None
    baseline_inputs: str = ""
    """Digest of what the baseline was measured with; empty: none was measured."""
    baseline_time: str = ""
    unusable: tuple[UnusableQuestions, ...] = ()


@dataclass(frozen=True, slots=True)
class UnusableQuestions:
    """What a job's validation found wrong with the questions of another suite."""

    suite: str
    digest: str
    """Of the suite's spec."""
    problem: str
    job: str
    time: str


def measurements_of(job: Mapping[str, Any]) -> JobMeasurements | None:
    """Return what a job has measured; None: nothing, or the job cannot be read."""
    try:
        metadata, status = job["metadata"], job.get("status") or {}
        stages = {stage["name"]: stage for stage in status.get("stages") or []}
        baseline = stages.get("Baseline") or {}
        whole = baseline.get("inputs") and baseline.get("resultDigest")
        found = JobMeasurements(
            namespace=metadata.get("namespace", ""),
            job=metadata["name"],
            uid=str(metadata["uid"]),
            run=_run(job, status, stages.get("Train") or {}),
            baseline_inputs=str(baseline["inputs"]) if whole else "",
            baseline_time=str(baseline.get("completionTime") or ""),
            unusable=tuple(_unusable(metadata["name"], status, stages.get("Validate") or {})),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return found if found.run is not None or found.baseline_inputs or found.unusable else None


def _unusable(job: str, status: Mapping[str, Any], validate: Mapping[str, Any]) -> Iterator[UnusableQuestions]:
    for one in status.get("unusableSuites") or []:
        time = str(validate.get("completionTime") or "")
        yield UnusableQuestions(one["name"], one["digest"], str(one["problem"]), job, time)


def _run(job: Mapping[str, Any], status: Mapping[str, Any], train: Mapping[str, Any]) -> PoolRun | None:
    method = (job["spec"].get("method") or {}).get("type")
    pool, value, end = (status.get("pool") or {}).get("name"), status.get("throughput"), train.get("completionTime")
    if method not in METHODS or not (pool and value and end):
        return None
    datetime.fromisoformat(end)
    return PoolRun(pool, method, MeasuredRun(job_uid=str(job["metadata"]["uid"]), time=end, value=value))
