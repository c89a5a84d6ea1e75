"""What an init container copies into a folder of the pod before anything reads it. Only that container sees the
credential, and only it writes to the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.api.stage.layout import BASE_MODEL_MOUNT, DATASET_MOUNT, DOCUMENTS_MOUNT, QUESTIONS_MOUNT, STORE_DIR
from tunegate.digests import sha256

CONFIG_DIGEST_FLAG = "--config-digest"
"""Argument of every container of ours that reads a mounted configuration: the template of a pod is protected, a ConfigMap is
only as good as its digest."""
DOWNLOAD_CONTAINER = "download"
DOCUMENTS_CONTAINER = "download-documents"
QUESTIONS_CONTAINER = "download-questions"
COPY_MODEL_CONTAINER = "copy-model"


@dataclass(frozen=True)
class Download:
    """One folder of a pod and what fills it."""

    container: str
    volume: str
    mount_path: str
    config: Mapping[str, Any]
    secret: str | None
    size: str
    """Quantity: the room in the pod's folder."""
    optional: bool = False
    """The Secret may be missing: the container says so, where the kubelet would only wait."""

    @property
    def credential(self) -> str:
        """Name of the volume with the Secret."""
        return f"{self.volume}-store"

    @property
    def config_file(self) -> str:
        """Name of the configuration among those of the pod."""
        return f"{self.container}.json"

    @property
    def config_text(self) -> str:
        """The configuration, as the pod's ConfigMap holds it."""
        return json.dumps(self.config, indent=1, sort_keys=True)

    @property
    def arguments(self) -> list[str]:
        """What the container is told of its configuration, beside where it lies."""
        return config_digest_arguments(self.config_text)

    @property
    def volumes(self) -> list[dict[str, Any]]:
        """The pod's folder, and the credential where there is one."""
        folder: dict[str, Any] = {"name": self.volume, "emptyDir": {"sizeLimit": self.size}}
        if self.secret is None:
            return [folder]
        secret: dict[str, Any] = {"secretName": self.secret}
        return [folder, {"name": self.credential, "secret": secret | ({"optional": True} if self.optional else {})}]

    @property
    def own_mounts(self) -> list[dict[str, Any]]:
        """What the container itself sees."""
        folder = {"name": self.volume, "mountPath": self.mount_path, "readOnly": False}
        return [*([{"name": self.credential, "mountPath": STORE_DIR, "readOnly": True}] if self.secret else []), folder]

    @property
    def reading_mount(self) -> dict[str, Any]:
        """What the containers after it see."""
        return {"name": self.volume, "mountPath": self.mount_path, "readOnly": True}


def config_digest_arguments(text: str) -> list[str]:
    """Return the arguments that bind a configuration document to the container that reads it."""
    return [CONFIG_DIGEST_FLAG, sha256(text.encode())]


def data_download(config: Mapping[str, Any], secret: str | None, size: str) -> Download:
    """Return the download of training data from a store, or from the registry, which takes no Secret of the site."""
    return Download(DOWNLOAD_CONTAINER, "dataset", DATASET_MOUNT, config, secret, size)


def documents_download(config: Mapping[str, Any], secret: str | None, size: str) -> Download:
    """Return the download of an author's documents from a store or from the registry."""
    return Download(DOCUMENTS_CONTAINER, "documents", DOCUMENTS_MOUNT, config, secret, size)


def questions_download(config: Mapping[str, Any], size: str) -> Download:
    """Return the download of suites' questions from the registry."""
    return Download(QUESTIONS_CONTAINER, "questions", QUESTIONS_MOUNT, config, None, size)


def model_download(config: Mapping[str, Any], secret: str | None, size: str) -> Download:
    """Return the download of a base model from a Hub mirror."""
    return Download(COPY_MODEL_CONTAINER, "base", BASE_MODEL_MOUNT, config, secret, size, optional=True)
