"""Where a running attempt stands: waiting for a device, a volume or an image, starting, or at work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.api.conditions import ConditionStatus
from tunegate.api.numbers import count_of
from tunegate.api.reasons import JobReason
from tunegate.manifests.downloads import (
    COPY_MODEL_CONTAINER,
    DOCUMENTS_CONTAINER,
    DOWNLOAD_CONTAINER,
    QUESTIONS_CONTAINER,
)
from tunegate.manifests.stage_job import ENGINE_CONTAINER, STAGE_CONTAINER
from tunegate.reconcile.attempt.attempt import Attempt
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.attempt.pod_end import container_state, node_gone, node_of, pod_over
from tunegate.reconcile.attempt.scheduling import no_node

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_IMAGE |= {"ImageInspectError", "SignatureValidationFailed"}
_ORDINARY = {"PodInitializing", "ContainerCreating"}
_VOLUME_WORDS = (
    "persistentvolumeclaim",
    "unbound",
    "volume node affinity",
    "volume attachment",
    "available persistent",
)


@dataclass(frozen=True)
class Placement:
    """What the condition `Scheduled` says, and whether the stage itself runs."""

    scheduled: ConditionStatus
    reason: JobReason
    message: str
    at_work: bool = False


def place(attempt: Attempt, nodes: int, refusal: str | None = None) -> Placement:
    """Return the first thing that any pod of the attempt waits for.

    ``refusal``: why Kubernetes could not create a pod, as an event of the Job says.
    """
    pods = [pod for pod in attempt.pods if not pod["metadata"].get("deletionTimestamp")]
    for pod in attempt.pods:
        if pod not in pods and not pod_over(pod):
            return _ending(pod)
    if len(pods) < nodes and refusal is not None:
        return _refused(refusal)
    if len(pods) < nodes:
        name = attempt.job["metadata"]["name"] if attempt.job else "?"
        text = f"Kubernetes has made {len(pods)} of {count_of(nodes, 'pod')}"
        return Placement("Unknown", JobReason.STAGE_RUNNING, f"{text}; if that lasts: kubectl describe job {name}")
    for pod in pods:
        waiting = _unscheduled(pod) or _held_back(pod)
        if waiting is not None:
            return waiting
    if all(container_state(pod, STAGE_CONTAINER).get("running") for pod in pods):
        return Placement("True", JobReason.STAGE_RUNNING, "the stage runs", at_work=True)
    if any(container_state(pod, DOWNLOAD_CONTAINER).get("running") for pod in pods):
        return Placement("True", JobReason.STAGE_RUNNING, "the training data is being downloaded")
    if any(container_state(pod, DOCUMENTS_CONTAINER).get("running") for pod in pods):
        return Placement("True", JobReason.STAGE_RUNNING, "the documents are being downloaded")
    if any(container_state(pod, QUESTIONS_CONTAINER).get("running") for pod in pods):
        return Placement("True", JobReason.STAGE_RUNNING, "the suite's questions are being downloaded")
    if any(container_state(pod, COPY_MODEL_CONTAINER).get("running") for pod in pods):
        return Placement("True", JobReason.STAGE_RUNNING, "the base model is being copied from the Hub mirror")
    if any(container_state(pod, ENGINE_CONTAINER).get("running") for pod in pods):
        return Placement("True", JobReason.STAGE_RUNNING, "the engine is loading the model")
    if any(container_state(pod, STAGE_CONTAINER).get("terminated") for pod in pods):
        return Placement("True", JobReason.STAGE_RUNNING, "the stage has ended, its Job is being closed", at_work=True)
    return Placement("True", JobReason.STAGE_RUNNING, "volumes are being mounted and containers started")


def _ending(pod: Json) -> Placement:
    name, node = pod["metadata"]["name"], node_of(pod)
    if node_gone(pod):
        message = f"node {node} does not answer, and Kubernetes gave pod {name} up; if that lasts the attempt ends"
        return Placement("Unknown", JobReason.NODE_LOST, message)
    return Placement("Unknown", JobReason.STAGE_RUNNING, f"pod {name} was deleted and is ending on node {node}")


def _refused(refusal: str) -> Placement:
    if "exceeded quota" in refusal:
        hint = "It starts by itself when room is free; see `kubectl describe resourcequota`."
        return Placement("False", JobReason.WAITING_FOR_QUOTA, f"the namespace's quota is used up: {refusal} {hint}")
    return Placement("False", JobReason.STAGE_RUNNING, f"Kubernetes cannot create the pod: {refusal}")


def _unscheduled(pod: Json) -> Placement | None:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] != "PodScheduled" or condition["status"] != "False":
            continue
        message = str(condition.get("message") or condition.get("reason") or "")
        lowered = message.lower()
        # A claim that waits for its first consumer is the scheduler's own work; all other volume trouble needs a person.
        if any(word in lowered for word in _VOLUME_WORDS) and "insufficient" not in lowered:
            hint = "See `kubectl get pvc` and its storage class"
            return Placement("False", JobReason.WAITING_FOR_VOLUME, f"{no_node(message)}. {hint}")
        hint = "It starts by itself when there is room"
        return Placement("False", JobReason.WAITING_FOR_DEVICE, f"{no_node(message)}. {hint}")
    return None


def _held_back(pod: Json) -> Placement | None:
    status = pod.get("status") or {}
    for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting: Mapping[str, Any] = (entry.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason in _IMAGE:
            message = f"{reason} of container {entry['name']} ({entry.get('image', '')}): {waiting.get('message', '')}"
            hint = "Is the image in the site's registry, and the pull secret right?"
            return Placement("False", JobReason.WAITING_FOR_IMAGE, f"{message} {hint}")
        if reason and reason not in _ORDINARY:
            name = pod["metadata"]["name"]
            message = f"container {entry['name']}: {reason} {waiting.get('message', '')} (kubectl describe pod {name})"
            return Placement("Unknown", JobReason.STAGE_RUNNING, message)
    return None
