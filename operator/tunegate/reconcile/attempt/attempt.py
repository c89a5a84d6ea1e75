"""The Job and the pods of one attempt, and what they say before anybody judges how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tunegate.manifests.stage_job import STAGE_CONTAINER, config_digest
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.attempt.pod_end import container_state, last_word
from tunegate.reconcile.naming import ATTEMPT_LABEL, STAGE_LABEL

INDEX_LABEL = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Attempt:
    """The objects of one attempt, as far as they are there."""

    stage: str
    number: int
    job: Json | None
    pods: tuple[Json, ...]


def attempts(jobs: Iterable[Json], pods: Iterable[Json]) -> dict[tuple[str, int], Attempt]:
    """Return every attempt of which a Job or a pod is there, by (stage, number)."""
    job_of = {_key(job): job for job in jobs}
    pods_of: dict[tuple[str, int], list[Json]] = {}
    for pod in pods:
        pods_of.setdefault(_key(pod), []).append(pod)
    keys = sorted(set(job_of) | set(pods_of))
    return {key: Attempt(key[0], key[1], job_of.get(key), tuple(pods_of.get(key, ()))) for key in keys}


def finished(job: Json) -> bool:
    """Tell whether a batch/v1 Job is over."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)


def attempt_seconds(attempt: Attempt, fallback_start: datetime | None, now: datetime) -> float:
    """Return how long the attempt's pods ran, in seconds; without pods, since ``fallback_start``."""
    starts, ends = [], []
    for pod in attempt.pods:
        state = container_state(pod, STAGE_CONTAINER)
        running, over = state.get("running") or {}, state.get("terminated") or {}
        if started := running.get("startedAt") or over.get("startedAt"):
            starts.append(datetime.fromisoformat(started))
            ends.append(datetime.fromisoformat(over["finishedAt"]) if over.get("finishedAt") else now)
    if starts:
        return max(0.0, (max(ends) - min(starts)).total_seconds())
    return 0.0 if fallback_start is None or attempt.pods else max(0.0, (now - fallback_start).total_seconds())


def named_result(pod: Json) -> str | None:
    """Return the digest of the result that the pod's last word names."""
    word = last_word(container_state(pod, STAGE_CONTAINER).get("terminated") or {})
    return word.result_digest if word else None


def first_pod(pods: Sequence[Json]) -> Json | None:
    """Return the pod that answers for the attempt: completion index 0, or the only one; the youngest if replaced."""
    leading = [pod for pod in pods if _labels(pod).get(INDEX_LABEL, "0") == "0"]
    return max(leading, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def _labels(obj: Json) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _key(obj: Json) -> tuple[str, int]:
    labels = _labels(obj)
    number = labels.get(ATTEMPT_LABEL, "")
    return labels.get(STAGE_LABEL, ""), int(number) if number.isdigit() else 0


def config_digest_of(attempt: Attempt) -> str | None:
    """Return the configuration's digest that an attempt was made with, as its Job, or one of its pods, says."""
    if attempt.job is not None:
        return config_digest(attempt.job["spec"]["template"]["spec"])
    return next((config_digest(pod.get("spec") or {}) for pod in attempt.pods), None)
