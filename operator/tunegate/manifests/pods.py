"""What all pods of Tunegate share: no root, no capabilities, nothing writable but scratch space, no Kubernetes token."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tunegate.api.computepool import ComputePoolSpec, memory_bytes
from tunegate.api.shared import Resources

SCRATCH = "/tmp"  # noqa: S108 - the pod's own empty folder, and HOME of every container
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a memory volume of the pod
USER = 65532
"""The numeric user and group of every container (the customary "nonroot")."""


def pod_security() -> dict[str, Any]:
    """Return the pod's security context. Volumes are made writable for the group, only where they are not yet."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """Return a container's security context; it meets the Pod Security Standard "restricted"."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_resources(resources: Resources, device: str | None = None, devices: int = 0) -> dict[str, Any]:
    """Return requests and limits: memory as both, CPU as request only (a limit would throttle, not protect).

    ``device`` is an extended resource; Kubernetes wants its request and limit to be equal.
    """
    requests = {"cpu": resources.cpu, "memory": resources.memory}
    limits = {"memory": resources.memory}
    if device and devices:
        requests[device] = limits[device] = str(devices)
    return {"requests": requests, "limits": limits}


def threads(resources: Resources) -> int:
    """Return the number of arithmetic threads for a container: its CPU request, at least 2.

    The request is a floor and not a cap, so small pools may use a second core when it is idle; without any number
    libraries would start one thread per core of the node.
    """
    return max(2, math.ceil(cpu_cores(resources.cpu)))


def cpu_cores(quantity: str) -> float:
    """Return a Kubernetes quantity of CPU in cores."""
    return float(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)


def at_most(resources: Resources, limit: Resources) -> Resources:
    """Return ``resources``, each no larger than in ``limit``."""
    return Resources(
        cpu=min(resources.cpu, limit.cpu, key=cpu_cores),
        memory=min(resources.memory, limit.memory, key=memory_bytes),
    )


def scratch_volumes(*names: str) -> list[dict[str, Any]]:
    """Return the shared memory volume and one empty folder for each name."""
    shared_memory = {"name": "shm", "emptyDir": {"medium": "Memory"}}
    return [shared_memory, *({"name": name, "emptyDir": {}} for name in names)]


def scratch_mounts(tmp: str = "tmp") -> list[dict[str, Any]]:
    """Return the mounts of the writable places: `/tmp` (volume ``tmp``) and `/dev/shm`."""
    return [{"name": tmp, "mountPath": SCRATCH}, {"name": "shm", "mountPath": SHARED_MEMORY}]


def placement(pool: ComputePoolSpec, *, pinned: bool) -> dict[str, Any]:
    """Return node selector and tolerations of a pool.

    Pods that need no device are not ``pinned`` to the pool's nodes but tolerate their taints: a workspace on a node's
    own disk can be reached from that node only.
    """
    found: dict[str, Any] = {}
    if pinned and pool.node_selector:
        found["nodeSelector"] = dict(pool.node_selector)
    if pool.tolerations:
        found["tolerations"] = [toleration.to_dict() for toleration in pool.tolerations]
    return found


def pod_basics(service_account: str, pull_secrets: Iterable[str]) -> dict[str, Any]:
    """Return the pod fields that never vary."""
    basics: dict[str, Any] = {
        "serviceAccountName": service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
    }
    secrets = [{"name": name} for name in pull_secrets]
    return {**basics, "imagePullSecrets": secrets} if secrets else basics
