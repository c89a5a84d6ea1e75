"""The verbs of the API server that a worker uses, over the objects of a job's world; the worker itself is the real one.

It can die before any write, as a killed process does.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Coroutine, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from tests.support.recording_client import Crash
from tunegate.api.markers import API_VERSION
from tunegate.kube.client import FIELD_MANAGER, AlreadyExists, ObjectRef
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.tries import Tries
from tunegate.sketch import Sketch

if TYPE_CHECKING:
    from tests.support.job_world import World

Json = dict[str, Any]
T = TypeVar("T")


class MemoryKube:
    """Reads and writes a world. ``left``: so many writes until the process dies; None: it lives."""

    def __init__(self, world: World, left: int | None) -> None:
        self._world = world
        self._left = left

    def write(self) -> None:
        """Die, or let one more write pass."""
        if self._left == 0:
            raise Crash
        if self._left is not None:
            self._left -= 1

    async def get(self, ref: ObjectRef) -> Json | None:
        found = self._world.find(ref.kind, ref.name)
        return None if found is None else copy.deepcopy(found)

    async def create(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        if dry_run:
            return dict(obj)
        self.write()
        if self._world.find(obj["kind"], obj["metadata"]["name"]) is not None:
            raise AlreadyExists(str(ObjectRef.of(obj)))
        self._world.put(copy.deepcopy(dict(obj)))
        return self._found(obj)

    async def apply(
        self, obj: Mapping[str, Any], *, manager: str = FIELD_MANAGER, subresource: str | None = None
    ) -> Json:
        self.write()
        if subresource == "status":
            self._world.write_status(copy.deepcopy(dict(obj["status"])))
        else:
            self._world.put(copy.deepcopy(dict(obj)))
        return self._found(obj)

    async def delete(self, ref: ObjectRef, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        self.write()
        found = self._world.find(ref.kind, ref.name)
        wanted = uid or ref.uid
        if found is not None and wanted in ("", found["metadata"]["uid"]):
            self._world.operator_deletes(ref.kind, ref.name)

    async def create_event(self, about: Mapping[str, Any], *, type_: str, reason: str, message: str) -> None:
        """Nothing rests on events."""

    def _found(self, obj: Mapping[str, Any]) -> Json:
        found = self._world.find(obj["kind"], obj["metadata"]["name"])
        assert found is not None
        return copy.deepcopy(found)


class MemoryLedger:
    """Keeps entries in the world, each once."""

    def __init__(self, world: World, kube: MemoryKube) -> None:
        self._world = world
        self._kube = kube

    async def append(self, entry: AuditEntry) -> None:
        self._kube.write()
        self._world.record(entry)

    async def of_subject(self, uid: str) -> tuple[()]:
        return ()

    async def of_namespace(self, kind: str, namespace: str, types: Collection[str], since: datetime) -> tuple[()]:
        return ()

    async def tries(self, data_digest: str, sketch: Sketch | None = None) -> Tries:
        """The world says them."""
        return Tries()


def with_status(name: str, namespace: str, uid: str, generation: int, status: Mapping[str, Any]) -> Json:
    """Return a job as the API server gives it: who applied which field of its status is part of it."""
    applied = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "subresource": "status",
        "fieldsV1": {"f:status": {f"f:{field}": {} for field in status}},
    }
    metadata = {"name": name, "namespace": namespace, "uid": uid, "generation": generation}
    if status:
        metadata["managedFields"] = [applied]
    return {"apiVersion": API_VERSION, "kind": "FineTuneJob", "metadata": metadata, "status": dict(status)}


def driven(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing outside, without an event loop."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    work.close()
    raise AssertionError("it waits for something outside the world")
