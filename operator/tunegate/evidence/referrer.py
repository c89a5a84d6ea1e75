"""What lies beside an adapter in the registry: one document, and the artifact that brings it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunegate.digests import sha256
from tunegate.registry import artifact
from tunegate.registry.artifact import MANIFEST_TYPE, Artifact, Layer


@dataclass(frozen=True)
class Referrer:
    """A document that refers to an adapter; ``name`` is that under which the ledger holds its digest."""

    name: str
    content: bytes
    artifact: Artifact

    @property
    def digest(self) -> str:
        """SHA-256 of the artifact's OCI manifest."""
        return sha256(artifact.write(self.artifact))


def referrer(
    name: str, content: bytes, media_type: str, adapter: Layer, said: Mapping[str, str] | None = None
) -> Referrer:
    """Return a document as referrer of ``adapter``; equal documents, equal digests. ``said`` are annotations."""
    layer = Layer(media_type, sha256(content), len(content))
    return Referrer(name, content, Artifact(media_type, (layer,), adapter, said or {}))


def subject(adapter: bytes) -> Layer:
    """Return what referrers name: the adapter with this OCI manifest."""
    return Layer(MANIFEST_TYPE, sha256(adapter), len(adapter))
