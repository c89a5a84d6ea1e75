"""What the pods and the Job of one attempt say: still on its way, and if so where it hangs, or ended, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from tunegate.api.numbers import count_of
from tunegate.api.reasons import StageReason
from tunegate.api.stage.ends import ExitCode, Termination
from tunegate.api.stage.results import StageResult
from tunegate.manifests.stage_job import ENGINE_CONTAINER, PREPARING, STAGE_CONTAINER, config_digest
from tunegate.reconcile.attempt.lost_result import Json, LostResult
from tunegate.reconcile.naming import ATTEMPT_LABEL, STAGE_LABEL

ENGINE_RESTARTS = 3
"""An engine that fell so often before its first answer will not come up by itself."""
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"

_BY_WEIGHT = (
    StageReason.OUT_OF_MEMORY,
    StageReason.BAD_INPUT,
    StageReason.CONFIGURATION_DIFFERS,
    StageReason.INPUT_CHANGED,
    StageReason.UNKNOWN,
    StageReason.UNAVAILABLE,
    StageReason.DISRUPTED,
    StageReason.PREEMPTED,
    StageReason.NO_RESULT,
)
"""Of several pods the one with the heaviest reason fell first; its peers were stopped because of it."""


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


@dataclass(frozen=True)
class Ended:
    """How the attempt ended."""

    reason: StageReason
    message: str = ""
    result: StageResult | None = None
    result_digest: str | None = None
    remains: bool = False
    """The Job has to be deleted: it would go on forever."""


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


def pod_over(pod: Json) -> bool:
    """Tell whether no container of the pod runs or will run."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def judge(attempt: Attempt, results: Mapping[str, StageResult | LostResult]) -> OnItsWay | Unreadable | Ended:
    """Classify the attempt. A missing Job counts as a disruption, unless its first pod still tells a verdict."""
    job = attempt.job
    if job is not None and not finished(job):
        stuck = None if job["metadata"].get("deletionTimestamp") else _engine_stuck(attempt.pods)
        return stuck or OnItsWay(leaving=bool(job["metadata"].get("deletionTimestamp")))
    if not all(pod_over(pod) for pod in attempt.pods):
        return OnItsWay(leaving=True)
    verdict = _verdict(attempt, results)
    if verdict is not None:
        return verdict
    ends = [end for pod in attempt.pods if (end := _pod_end(pod)) is not None]
    if not ends:
        gone = "its Job was deleted" if job is None else "its pod was deleted"
        return Ended(StageReason.DISRUPTED, f"{gone} before it could answer")
    return min(ends, key=lambda end: _BY_WEIGHT.index(end.reason))


def attempt_seconds(attempt: Attempt, fallback_start: datetime | None, now: datetime) -> float:
    """Return how long the attempt's pods ran, in seconds; without pods, since ``fallback_start``."""
    starts, ends = [], []
    for pod in attempt.pods:
        state = _state(pod, STAGE_CONTAINER)
        running, over = state.get("running") or {}, state.get("terminated") or {}
        if started := running.get("startedAt") or over.get("startedAt"):
            starts.append(datetime.fromisoformat(started))
            ends.append(datetime.fromisoformat(over["finishedAt"]) if over.get("finishedAt") else now)
    if starts:
        return max(0.0, (max(ends) - min(starts)).total_seconds())
    return 0.0 if fallback_start is None or attempt.pods else max(0.0, (now - fallback_start).total_seconds())


def container_state(pod: Json, name: str) -> Mapping[str, Any]:
    """Return `state` of a container or init container; empty when the kubelet has not reported it."""
    return _state(pod, name)


def named_result(pod: Json) -> str | None:
    """Return the digest of the result that the pod's last word names."""
    last_word = _termination(_state(pod, STAGE_CONTAINER).get("terminated") or {})
    return last_word.result_digest if last_word else None


def first_pod(pods: Sequence[Json]) -> Json | None:
    """Return the pod that answers for the attempt: completion index 0, or the only one; the youngest if replaced."""
    leading = [pod for pod in pods if _labels(pod).get(INDEX_LABEL, "0") == "0"]
    return max(leading, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def _verdict(attempt: Attempt, results: Mapping[str, StageResult | LostResult]) -> Unreadable | Ended | None:
    pod = first_pod(attempt.pods)
    if pod is None or not pod_over(pod):
        return None
    over = _state(pod, STAGE_CONTAINER).get("terminated") or {}
    last_word = _termination(over)
    if over.get("exitCode") != ExitCode.VERDICT or last_word is None or not last_word.result_digest:
        return None
    digest = last_word.result_digest
    result = results.get(digest)
    if result is None:
        return Unreadable(digest)
    if isinstance(result, LostResult):
        return Ended(StageReason.NO_RESULT, f"its result {digest[:19]}… is not to be had: {result.why}")
    if result.stage != attempt.stage:
        return Ended(StageReason.NO_RESULT, f"its result {digest[:19]}… is one of stage {result.stage}")
    return Ended(StageReason.COMPLETED, last_word.message, result, digest)


def _pod_end(pod: Json) -> Ended | None:
    """Classify one pod; None while it is not over."""
    if not pod_over(pod):
        return None
    status = pod.get("status") or {}
    over = _state(pod, STAGE_CONTAINER).get("terminated") or {}
    before = [_state(pod, name).get("terminated") or {} for name in PREPARING]
    fallen = next((end for end in before if end.get("exitCode")), {})
    deciding = over or fallen
    code = deciding.get("exitCode")
    last_word = _termination(deciding)
    said = last_word.message if last_word else ""
    if code == ExitCode.VERDICT:
        return Ended(StageReason.NO_RESULT, said or "it ended well but named no result")
    if code == ExitCode.OUT_OF_MEMORY or _out_of_memory(pod):
        return Ended(StageReason.OUT_OF_MEMORY, said or _who_fell(pod))
    if code == ExitCode.BAD_INPUT:
        return Ended(StageReason.BAD_INPUT, said)
    if code == ExitCode.CONFIGURATION_DIFFERS:
        return Ended(StageReason.CONFIGURATION_DIFFERS, said)
    if code == ExitCode.INPUT_CHANGED:
        return Ended(StageReason.INPUT_CHANGED, said)
    if code == ExitCode.PREEMPTED:
        return Ended(StageReason.PREEMPTED, said or "it was stopped and wrote a checkpoint")
    if _disrupted(pod):
        return Ended(StageReason.DISRUPTED, said or _disruption(pod))
    if code == ExitCode.UNAVAILABLE:
        return Ended(StageReason.UNAVAILABLE, said)
    if code is None:
        why = status.get("message") or status.get("reason") or "the kubelet gave no reason"
        return Ended(StageReason.DISRUPTED, f"its pod never ran: {why}")
    return Ended(StageReason.UNKNOWN, f"exit code {code}{': ' + said if said else ''}")


def _engine_stuck(pods: Sequence[Json]) -> Ended | None:
    for pod in pods:
        engine = _status(pod, ENGINE_CONTAINER)
        begun = _state(pod, STAGE_CONTAINER)
        if pod_over(pod) or engine.get("restartCount", 0) < ENGINE_RESTARTS or begun.get("running"):
            continue
        if _out_of_memory(pod):
            return Ended(StageReason.OUT_OF_MEMORY, _who_fell(pod), remains=True)
        last = (engine.get("lastState") or {}).get("terminated") or {}
        message = f"the engine fell {count_of(engine['restartCount'], 'time')} before it was ready, exit code {last.get('exitCode')}"
        return Ended(StageReason.UNKNOWN, message, remains=True)
    return None


def _out_of_memory(pod: Json) -> bool:
    return _fallen_container(pod) is not None


def _who_fell(pod: Json) -> str:
    return f"container {_fallen_container(pod) or STAGE_CONTAINER} needed more memory than its limit"


def _fallen_container(pod: Json) -> str | None:
    for entry in _statuses(pod):
        for state in (entry.get("state") or {}, entry.get("lastState") or {}):
            if (state.get("terminated") or {}).get("reason") == "OOMKilled":
                return str(entry["name"])
    return None


def _disrupted(pod: Json) -> bool:
    """Tell whether the pod was taken away: evicted, preempted or deleted (`kubectl delete pod` sets no condition)."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    target = any(entry["type"] == "DisruptionTarget" and entry["status"] == "True" for entry in conditions)
    return target or bool(pod["metadata"].get("deletionTimestamp"))


def _disruption(pod: Json) -> str:
    conditions = (pod.get("status") or {}).get("conditions") or []
    found = next((entry for entry in conditions if entry["type"] == "DisruptionTarget"), None)
    return str(found.get("message") or found.get("reason")) if found else "its pod was deleted"


def _termination(terminated: Mapping[str, Any]) -> Termination | None:
    try:
        return Termination.model_validate_json(terminated.get("message") or "")
    except ValidationError:
        return None


def _statuses(pod: Json) -> list[Mapping[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _status(pod: Json, name: str) -> Mapping[str, Any]:
    return next((entry for entry in _statuses(pod) if entry["name"] == name), {})


def _state(pod: Json, name: str) -> Mapping[str, Any]:
    return _status(pod, name).get("state") or {}


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
