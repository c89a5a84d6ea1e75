"""What a job owns beside its attempts: the workspace volume and the registry credential."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from tunegate.api.finetunejob.spec import Workspace
from tunegate.api.stage.layout import CHECKPOINT_KEY_PATH

CREDENTIAL_KEY = "config.json"
"""Key of the Docker configuration in a credential Secret; it becomes the file name of ``REGISTRY_AUTH_PATH``."""


CHECKPOINT_KEY = CHECKPOINT_KEY_PATH.rpartition("/")[2]
"""Key in the Secret with the key of checkpoints; it becomes the file's name."""


def workspace_claim(
    name: str,
    namespace: str,
    *,
    workspace: Workspace,
    shared: bool,
    labels: Mapping[str, str],
    owner: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the PersistentVolumeClaim for checkpoints; ``shared``: several nodes write to it at a time."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteMany" if shared else "ReadWriteOnce"],
        "resources": {"requests": {"storage": workspace.size}},
    }
    if workspace.storage_class_name is not None:
        spec["storageClassName"] = workspace.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(name, namespace, labels, owner),
        "spec": spec,
    }


def credential_secret(
    name: str, namespace: str, *, docker_config: str, labels: Mapping[str, str], owner: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the Secret with the registry credential of a job's stages."""
    return _secret(_metadata(name, namespace, labels, owner), CREDENTIAL_KEY, docker_config.encode())


def checkpoint_secret(
    name: str, namespace: str, *, key: bytes, labels: Mapping[str, str], owner: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the Secret with the key by which a job's training knows its own checkpoints again. It never changes."""
    return {**_secret(_metadata(name, namespace, labels, owner), CHECKPOINT_KEY, key), "immutable": True}


def credential_of(secret: Mapping[str, Any]) -> str:
    """Return the Docker configuration inside a credential Secret, empty when it holds none."""
    return base64.b64decode((secret.get("data") or {}).get(CREDENTIAL_KEY, "")).decode(errors="replace")


def _secret(metadata: dict[str, Any], key: str, value: bytes) -> dict[str, Any]:
    data = {key: base64.b64encode(value).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def _metadata(name: str, namespace: str, labels: Mapping[str, str], owner: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": dict(labels), "ownerReferences": [dict(owner)]}
