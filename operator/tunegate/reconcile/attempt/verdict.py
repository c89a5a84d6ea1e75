"""How an attempt ended, judged from what its Job and pods say; or that it goes on, and where it hangs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tunegate.api.numbers import count_of
from tunegate.api.reasons import StageReason
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.results import StageResult
from tunegate.manifests.stage_job import ENGINE_CONTAINER, STAGE_CONTAINER
from tunegate.reconcile.attempt.attempt import Attempt, finished, first_pod
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

ENGINE_RESTARTS = 3
"""An engine that fell so often before its first answer will not come up by itself."""
_BY_WEIGHT = (
    StageReason.OUT_OF_MEMORY,
    StageReason.STORAGE_FULL,
    StageReason.BAD_INPUT,
    StageReason.CONFIGURATION_DIFFERS,
    StageReason.INPUT_CHANGED,
    StageReason.DEVICES_MISSING,
    StageReason.UNKNOWN,
    StageReason.PEERS_MISSING,
    StageReason.REGISTRY_FULL,
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
class OnItsWay:
    """The attempt goes on. ``leaving``: it is being deleted or its last pods are ending."""

    leaving: bool = False


@dataclass(frozen=True)
class Unreadable:
    """The attempt ended with a result that can't be read at the moment."""

    digest: str


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
