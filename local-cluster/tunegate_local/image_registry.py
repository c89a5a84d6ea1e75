"""The registry that the node pulls from: a process on loopback whose storage lies in the cache directory and survives a wipe."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from tunegate_local import binaries, files, lock, processes, settings

NAME = "image-registry"
STORAGE = settings.CACHE / "registry"
CONFIGURATION = settings.STATE / "registry" / "config.yml"
READY_SECONDS = 15.0
# A proxy that the environment names is not for addresses of this machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def start() -> None:
    document = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(STORAGE)}, "delete": {"enabled": True}},
        "http": {"addr": settings.REGISTRY},
    }
    text = json.dumps(document, indent=2) + "\n"  # JSON is YAML
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    files.keep(CONFIGURATION, text)
    STORAGE.mkdir(parents=True, exist_ok=True)
    environment = {"OTEL_TRACES_EXPORTER": "none"}
    command: list[str | Path] = [binaries.registry(), "serve", CONFIGURATION]
    # `start` and `images` both need it and may come together.
    with lock.held(CONFIGURATION.parent, "image registry"):
        processes.ensure(NAME, command, environment=environment, settings_text=text)
        processes.wait_ready(NAME, answers, READY_SECONDS)


def answers() -> bool:
    try:
        with _DIRECT.open(f"http://{settings.REGISTRY}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def holds(reference: str) -> bool:
    """Whether the registry still has an image `host/repository@digest`."""
    repository, _, digest = reference.removeprefix(f"{settings.REGISTRY}/").partition("@")
    request = urllib.request.Request(f"http://{settings.REGISTRY}/v2/{repository}/manifests/{digest}", method="HEAD")
    request.add_header("Accept", MANIFEST_TYPES)
    try:
        with _DIRECT.open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
