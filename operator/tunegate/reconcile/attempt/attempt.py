"""What the pods and the Job of one attempt say: still on its way, and if so where it hangs, or ended, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tunegate.api.numbers import count_of
from tunegate.api.reasons import StageReason
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.results import StageResult
from tunegate.manifests.stage_job import ENGINE_CONTAINER, STAGE_CONTAINER, config_digest
from tunegate.reconcile.attempt.lost_result import Json, LostResult
from tunegate.reconcile.attempt.pod_end import (
    Ended,
    container_state,
    container_status,
    last_word,
    lost,
    out_of_memory,
    overdue,
    pod_end,
    pod_over,
    target,
    who_fell,
)
from tunegate.reconcile.naming import ATTEMPT_LABEL, STAGE_LABEL

ENGINE_RESTARTS = 3
"""An engine that fell so often before its first answer will not come up by itself."""
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"

_BY_WEIGHT = (
    StageReason.OUT_OF_MEMORY,
    StageReason.STORAGE_FULL,
    StageReason.BAD_INPUT,
    StageReason.CONFIGURATION_DIFFERS,
    StageReason.INPUT_CHANGED,
    StageReason.DEVICES_MISSING,
    StageReason.UNKNOWN,
    StageReason.PEERS_MISSING,
    StageReason.UNAVAILABLE,
    StageReason.NODE_LOST,
    StageReason.EVICTED,
    StageReason.DISRUPTED,
    StageReason.PREEMPTED,
    StageReason.NO_RESULT,
)
"""Of several pods the one with the heaviest reason fell first; its peers were stopped because of it."""
_LEFT_ALONE = (StageReason.UNKNOWN, StageReason.PEERS_MISSING, StageReason.UNAVAILABLE)
"""How the pods of a training end that lose one of their peers."""


@dataclass(frozen=True)
class Attempt:
    """The objects of one attempt, as far as they are there."""

    stage: str
    number: int
    job: Json | None
    pods: tuple[Json, ...]


@dataclass(frozen=True)
class OnItsWay:
    """The attempt goes on. ``leaving``: it is being deleted or its last pods are ending."""

    leaving: bool = False


@dataclass(frozen=True)
class Unreadable:
    """The attempt ended with a result that can't be read at the moment."""

    digest: str


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


def judge(
    attempt: Attempt, results: Mapping[str, StageResult | LostResult], now: datetime
) -> OnItsWay | Unreadable | Ended:
    """Classify the attempt. A missing Job counts as a disruption, unless its first pod still tells a verdict."""
    job = attempt.job
    gone = [pod for pod in attempt.pods if overdue(pod, now)]
    if job is not None and not finished(job):
        if gone:
            return replace(lost(gone[0]), remains=True)
        stuck = None if job["metadata"].get("deletionTimestamp") else _engine_stuck(attempt.pods)
        return stuck or OnItsWay(leaving=bool(job["metadata"].get("deletionTimestamp")))
    if not all(pod_over(pod) or overdue(pod, now) for pod in attempt.pods):
        return OnItsWay(leaving=True)
    return _verdict(attempt, results) or _heaviest(attempt, [lost(pod) for pod in gone])


def _heaviest(attempt: Attempt, ends_of_lost: Sequence[Ended]) -> Ended:
    """Return the end that explains all others: where a pod was taken away, its peers fell because of that."""
    ends = [(end, target(pod) is not None) for pod in attempt.pods if (end := pod_end(pod)) is not None]
    ends += [(end, True) for end in ends_of_lost]
    if not ends:
        gone = "its Job was deleted" if attempt.job is None else "its pod was deleted"
        return Ended(StageReason.DISRUPTED, f"{gone} before it could answer")
    heaviest = _first([end for end, _ in ends])
    taken = [end for end, taken in ends if taken]
    return _first(taken) if taken and heaviest.reason in _LEFT_ALONE else heaviest


def _first(ends: Sequence[Ended]) -> Ended:
    return min(ends, key=lambda end: _BY_WEIGHT.index(end.reason))


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


def _verdict(attempt: Attempt, results: Mapping[str, StageResult | LostResult]) -> Unreadable | Ended | None:
    pod = first_pod(attempt.pods)
    if pod is None or not pod_over(pod):
        return None
    over = container_state(pod, STAGE_CONTAINER).get("terminated") or {}
    word = last_word(over)
    if over.get("exitCode") != ExitCode.VERDICT or word is None or not word.result_digest:
        return None
    digest = word.result_digest
    result = results.get(digest)
    if result is None:
        return Unreadable(digest)
    if isinstance(result, LostResult):
        return Ended(StageReason.NO_RESULT, f"its result {digest[:19]}… is not to be had: {result.why}")
    if result.stage != attempt.stage:
        return Ended(StageReason.NO_RESULT, f"its result {digest[:19]}… is one of stage {result.stage}")
    return Ended(StageReason.COMPLETED, word.message, result, digest)


def _engine_stuck(pods: Sequence[Json]) -> Ended | None:
    for pod in pods:
        engine = container_status(pod, ENGINE_CONTAINER)
        begun = container_state(pod, STAGE_CONTAINER)
        if pod_over(pod) or engine.get("restartCount", 0) < ENGINE_RESTARTS or begun.get("running"):
            continue
        if out_of_memory(pod):
            return Ended(StageReason.OUT_OF_MEMORY, who_fell(pod), remains=True)
        last = (engine.get("lastState") or {}).get("terminated") or {}
        message = f"the engine fell {count_of(engine['restartCount'], 'time')} before it was ready, exit code {last.get('exitCode')}"
        return Ended(StageReason.UNKNOWN, message, remains=True)
    return None


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
