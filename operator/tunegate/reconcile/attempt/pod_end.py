"""How one pod of an attempt ended: what its containers, the kubelet and the API server say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from tunegate.api.reasons import StageReason
from tunegate.api.stage.ends import ExitCode, Termination
from tunegate.api.stage.results import StageResult
from tunegate.manifests.stage_job import PREPARING, STAGE_CONTAINER
from tunegate.reconcile.attempt.lost_result import Json

MOVED_AWAY = (StageReason.DISRUPTED, StageReason.EVICTED, StageReason.NODE_LOST, StageReason.PREEMPTED)
"""The pod was taken away: the next attempt may start at once."""
AWAY = (StageReason.UNAVAILABLE, StageReason.REGISTRY_FULL, StageReason.DEVICES_MISSING, StageReason.PEERS_MISSING)
"""Something that the pod needs was away: the next attempt waits."""
OUTSIDE = (*MOVED_AWAY, *AWAY)
"""Ends that are not the stage's own fault: they are counted as disruptions."""
OVERDUE = timedelta(minutes=5)
"""How long a pod may be there after the moment at which it should have been gone. Kubernetes never takes it away by itself:
only the node, or a person, can tell that nothing of it runs any more."""
OWN_STORAGE = (
    "ephemeral local storage usage exceeds",
    "exceeded its local ephemeral storage limit",
    "Usage of EmptyDir volume",
)
"""How the kubelet says that a pod used more disk than it may, and not that its node ran out of it.
Source: `pkg/kubelet/eviction/helpers.go` of Kubernetes 1.34."""
_SAYS = {
    ExitCode.BAD_INPUT: StageReason.BAD_INPUT,
    ExitCode.CONFIGURATION_DIFFERS: StageReason.CONFIGURATION_DIFFERS,
    ExitCode.INPUT_CHANGED: StageReason.INPUT_CHANGED,
    ExitCode.STORAGE_FULL: StageReason.STORAGE_FULL,
    ExitCode.DEVICES_MISSING: StageReason.DEVICES_MISSING,
}
"""Ends that are what the stage says, whatever happened to its pod besides."""
_SAYS_UNLESS_TAKEN = {
    ExitCode.UNAVAILABLE: StageReason.UNAVAILABLE,
    ExitCode.REGISTRY_FULL: StageReason.REGISTRY_FULL,
    ExitCode.PEERS_MISSING: StageReason.PEERS_MISSING,
}


@dataclass(frozen=True)
class Ended:
    """How the attempt ended."""

    reason: StageReason
    message: str = ""
    result: StageResult | None = None
    result_digest: str | None = None
    remains: bool = False
    """The Job has to be deleted: it would go on forever."""


def pod_over(pod: Json) -> bool:
    """Tell whether no container of the pod runs or will run."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def pod_end(pod: Json) -> Ended | None:
    """Classify one pod; None while it is not over."""
    if not pod_over(pod):
        return None
    status = pod.get("status") or {}
    over = container_state(pod, STAGE_CONTAINER).get("terminated") or {}
    before = [container_state(pod, name).get("terminated") or {} for name in PREPARING]
    fallen = next((end for end in before if end.get("exitCode")), {})
    deciding = over or fallen
    code = deciding.get("exitCode")
    word = last_word(deciding)
    said = word.message if word else ""
    evicted = str(status.get("message") or "") if status.get("reason") == "Evicted" else None
    if evicted is not None and any(text in evicted for text in OWN_STORAGE):
        return Ended(StageReason.STORAGE_FULL, f"the pod used more ephemeral storage than it may: {evicted.strip()}")
    if code == ExitCode.VERDICT:
        return Ended(StageReason.NO_RESULT, said or "it ended well but named no result")
    if code == ExitCode.OUT_OF_MEMORY or out_of_memory(pod):
        return Ended(StageReason.OUT_OF_MEMORY, said or who_fell(pod))
    if code in _SAYS:
        return Ended(_SAYS[code], said)
    if code == ExitCode.PREEMPTED:
        return Ended(StageReason.PREEMPTED, said or "it was stopped and wrote a checkpoint")
    if evicted is not None:
        return Ended(StageReason.EVICTED, evicted.strip() or "its node evicted the pod")
    if target(pod) is not None or pod["metadata"].get("deletionTimestamp"):
        return Ended(StageReason.DISRUPTED, said or _disruption(pod))
    if code in _SAYS_UNLESS_TAKEN:
        return Ended(_SAYS_UNLESS_TAKEN[code], said)
    if code is None:
        why = status.get("message") or status.get("reason") or "the kubelet gave no reason"
        return Ended(StageReason.UNAVAILABLE, f"its pod never ran: {why}")
    return Ended(StageReason.UNKNOWN, f"exit code {code}{': ' + said if said else ''}")


def overdue(pod: Json, now: datetime) -> bool:
    """Tell whether the pod should have been gone for long: its node does not say that its containers have ended."""
    leaving = pod["metadata"].get("deletionTimestamp")
    return bool(leaving) and not pod_over(pod) and now - datetime.fromisoformat(leaving) > OVERDUE


def lost(pod: Json) -> Ended:
    """Return how a pod ended that is overdue, as far as anybody can tell."""
    name, node = pod["metadata"]["name"], node_of(pod)
    since = pod["metadata"]["deletionTimestamp"]
    if node_gone(pod):
        text = f"node {node} is lost: pod {name} should have been gone at {since}, and the node does not confirm it"
        return Ended(StageReason.NODE_LOST, text)
    return Ended(StageReason.DISRUPTED, f"pod {name} on node {node} does not end: it should have been gone at {since}")


def node_of(pod: Json) -> str:
    """Return the name of the pod's node."""
    return str((pod.get("spec") or {}).get("nodeName") or "?")


def node_gone(pod: Json) -> bool:
    """Tell whether Kubernetes gave the pod up because its node does not answer."""
    taken = target(pod) or {}
    return (pod.get("status") or {}).get("reason") == "NodeLost" or taken.get("reason") == "DeletionByTaintManager"


def target(pod: Json) -> Mapping[str, Any] | None:
    """Return the condition by which Kubernetes says that it took the pod away: evicted, preempted, its node drained."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "DisruptionTarget" and one["status"] == "True"), None)


def out_of_memory(pod: Json) -> bool:
    """Tell whether the kernel ended a container of the pod for memory."""
    return _fallen_container(pod) is not None


def who_fell(pod: Json) -> str:
    """Say which container ran out of memory."""
    return f"container {_fallen_container(pod) or STAGE_CONTAINER} needed more memory than its limit"


def last_word(terminated: Mapping[str, Any]) -> Termination | None:
    """Return what a container left as its termination message; None when that is no such document."""
    try:
        return Termination.model_validate_json(terminated.get("message") or "")
    except ValidationError:
        return None


def container_status(pod: Json, name: str) -> Mapping[str, Any]:
    """Return what the kubelet says of a container or init container; empty when it has said nothing."""
    return next((entry for entry in _statuses(pod) if entry["name"] == name), {})


def container_state(pod: Json, name: str) -> Mapping[str, Any]:
    """Return `state` of a container or init container; empty when the kubelet has not reported it."""
    return container_status(pod, name).get("state") or {}


def _fallen_container(pod: Json) -> str | None:
    for entry in _statuses(pod):
        for state in (entry.get("state") or {}, entry.get("lastState") or {}):
            if (state.get("terminated") or {}).get("reason") == "OOMKilled":
                return str(entry["name"])
    return None


def _disruption(pod: Json) -> str:
    found = target(pod)
    return str(found.get("message") or found.get("reason")) if found else "its pod was deleted"


def _statuses(pod: Json) -> list[Mapping[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
