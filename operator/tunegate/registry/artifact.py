"""OCI artifacts as bytes: an image manifest with an `artifactType`, written and read without any registry.

Source: OCI Image Specification 1.1, "Guidelines for Artifact Usage".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate import digests

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Layer:
    """One blob of an artifact. ``title`` is a plain file name, or empty."""

    media_type: str
    digest: str
    size: int
    title: str = ""


@dataclass(frozen=True)
class Artifact:
    """What an OCI manifest says."""

    artifact_type: str
    layers: tuple[Layer, ...]
    subject: Layer | None = None
    """The manifest that it says something about: it is a referrer of it."""
    annotations: Mapping[str, str] = field(default_factory=dict)


def write(artifact: Artifact) -> bytes:
    """Return the manifest as RFC 8785 JSON: equal artifacts have equal digests."""
    return digests.canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": artifact.artifact_type,
            "config": {"mediaType": EMPTY_TYPE, "digest": digests.sha256(EMPTY), "size": len(EMPTY)},
            "layers": [_descriptor(layer) for layer in artifact.layers],
            **({"subject": _descriptor(artifact.subject)} if artifact.subject else {}),
            **({"annotations": dict(artifact.annotations)} if artifact.annotations else {}),
        }
    )


def read(manifest: bytes) -> Artifact:
    """Return what a manifest says, whoever wrote it. Raises ``ValueError`` for anything else."""
    try:
        said = json.loads(manifest)
        digests.canonical(said)  # What RFC 8785 cannot hold, nobody could write again.
        layers = tuple(_layer(layer) for layer in said["layers"])
        subject = said.get("subject")
        annotations = {str(name): str(value) for name, value in (said.get("annotations") or {}).items()}
        return Artifact(str(said.get("artifactType", "")), layers, _layer(subject) if subject else None, annotations)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not an OCI image manifest ({type(error).__name__})") from error


def _layer(said: Any) -> Layer:
    title = str(said.get("annotations", {}).get(TITLE, ""))
    size = int(said["size"])
    if not 0 <= size < 2**53:
        raise ValueError("size")
    return Layer(str(said["mediaType"]), str(said["digest"]), size, title)


def _descriptor(layer: Layer) -> dict[str, Any]:
    plain: dict[str, Any] = {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
    return {**plain, "annotations": {TITLE: layer.title}} if layer.title else plain
