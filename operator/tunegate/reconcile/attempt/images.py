"""Which images an attempt ran with: not what was asked for, but what the nodes say they ran."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tunegate.api.finetunejob.status import RunImage
from tunegate.reconcile.attempt.lost_result import Json

_digest_of = re.compile(r"sha256:[0-9a-f]{64}$").search
MOST = 16
"""Images that a stage's status holds; nodes of one training have the same ones."""


def run_images(pods: Iterable[Json]) -> list[RunImage]:
    """Return the images of all containers that ran, each once, by name of the container."""
    found = {one for pod in pods for one in _of(pod)}
    return [RunImage(container=name, image=image, digest=digest) for name, image, digest in sorted(found)[:MOST]]


def _of(pod: Json) -> Iterable[tuple[str, str, str]]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    asked = {one["name"]: str(one["image"]) for key in ("initContainers", "containers") for one in spec.get(key) or ()}
    for key in ("initContainerStatuses", "containerStatuses"):
        for one in status.get(key) or ():
            digest = _digest_of(one.get("imageID") or "")
            if digest is not None:
                yield one["name"], asked.get(one["name"], str(one.get("image", ""))), digest[0]
