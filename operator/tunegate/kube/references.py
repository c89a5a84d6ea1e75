"""How objects of the API server are named: without its client, so that planners and the command line load no library for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ObjectRef:
    """Address of one object; ``namespace`` is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    """Present: only this very object is meant, none made again under its name. Deleting heeds it."""

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> ObjectRef:
        """Return the address of an object that carries its own kind."""
        metadata = obj["metadata"]
        return cls(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace", ""))

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, order=True)
class ObjectKey:
    """Name of an object within its kind: what travels through a work queue."""

    namespace: str
    name: str
