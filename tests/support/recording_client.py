"""A client that notes what is written and can die after any write, and a ledger in memory."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from tunegate.errors import Transient
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.tries import Tries
from tunegate.sketch import Sketch

WRITES = ("create", "apply", "patch", "replace", "delete", "create_event", "add_finalizer", "remove_finalizer")


class Crash(BaseException):
    """The process dies here."""


class Watched:
    """A client that notes every write in order and dies right after write number ``last`` (from 1)."""

    def __init__(self, kube: KubeClient, last: int = 0) -> None:
        self._kube = kube
        self._last = last
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._kube, name)
        if name not in WRITES:
            return real

        async def noted(*args: Any, **kwargs: Any) -> Any:
            answer = await real(*args, **kwargs)
            first = args[0]
            kind = first.kind if isinstance(first, ObjectRef) else first["kind"]
            self.writes.append(f"{name} {kwargs.get('subresource') or kind}")
            if len(self.writes) == self._last:
                raise Crash
            return answer

        return noted


class Memory:
    """A ledger for entries that no test reads back from the cluster; it can be out of order."""

    def __init__(self, working: bool = True) -> None:
        self.entries: list[AuditEntry] = []
        self._working = working

    async def append(self, entry: AuditEntry) -> None:
        if not self._working:
            raise Transient("the ledger cannot be written")
        self.entries.append(entry)

    async def of_subject(self, uid: str) -> tuple[()]:
        return ()

    async def tries(self, data_digest: str, sketch: Sketch | None = None) -> Tries:
        """No test here looks at them."""
        return Tries()

    async def of_namespace(self, kind: str, namespace: str, types: Collection[str], since: datetime) -> tuple[()]:
        return ()
