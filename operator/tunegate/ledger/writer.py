"""The ledger in the cluster: append-only AuditRecords, read once and followed from there.

A record's name is its sequence number, so of two writers that want the same place one gets `AlreadyExists`, reads what
the other wrote and takes the next. Nothing is ever appended to a chain that does not verify.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import ValidationError

from tunegate.api.auditrecord import AuditRecord, AuditRecordSpec
from tunegate.api.markers import API_VERSION
from tunegate.errors import Terminal, Transient
from tunegate.kube.client import AlreadyExists, ObjectRef
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry

ATTEMPTS = 50
"""Places that may be lost to other writers before one append gives up for now."""
KIND = AuditRecord.KIND.kind


class RecordStore(Protocol):
    """The three verbs of ``tunegate.kube.client.KubeClient`` that the ledger needs."""

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None: ...

    async def list(self, api_version: str, kind: str) -> list[dict[str, Any]]: ...

    async def create(self, obj: dict[str, Any]) -> dict[str, Any]: ...


def _now() -> datetime:
    return datetime.now(UTC)


class LedgerWriter:
    """Reads and appends. Safe to share between the workers of one event loop, and correct beside other writers."""

    def __init__(self, store: RecordStore, clock: Callable[[], datetime] = _now) -> None:
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._records: list[AuditRecordSpec] | None = None
        self._events: dict[str, AuditRecordSpec] = {}
        self._problems: list[chain.Problem] = []

    async def append(self, entry: AuditEntry) -> AuditRecordSpec:
        """Record the entry and return its record; an event that is recorded already is returned as it stands.

        Raises ``Transient`` when no place could be taken, ``Terminal`` when the chain does not verify.
        """
        async with self._lock:
            for _ in range(ATTEMPTS):
                records = await self._follow()
                if self._problems:
                    raise Terminal("LedgerBroken", _broken(self._problems))
                if (known := self._events.get(entry.event_id)) is not None:
                    return known
                record = _next(entry, records, self._clock())
                try:
                    await self._store.create(chain.record_object(record))
                except AlreadyExists:
                    continue
                self._remember(record)
                return record
        raise Transient(f"no place in the ledger for {entry.type} after {ATTEMPTS} tries: others keep writing")

    async def of_subject(self, uid: str) -> tuple[AuditRecordSpec, ...]:
        """Return what is recorded about the object of that UID, oldest first. Never fails for a broken chain."""
        async with self._lock:
            return tuple(record for record in await self._follow() if record.subject.uid == uid)

    async def of_namespace(self, kind: str, namespace: str) -> tuple[AuditRecordSpec, ...]:
        """Return what is recorded about objects of that kind and namespace, oldest first. Never fails for a broken chain."""
        async with self._lock:
            records = await self._follow()
            return tuple(one for one in records if (one.subject.kind, one.subject.namespace) == (kind, namespace))

    async def problems(self) -> list[chain.Problem]:
        """Return what was found wrong with the chain so far; empty when it is intact."""
        async with self._lock:
            await self._follow()
            return list(self._problems)

    async def _follow(self) -> list[AuditRecordSpec]:
        """Bring the copy in memory up to the newest record."""
        if self._records is None:
            objects = await self._store.list(API_VERSION, KIND)
            self._problems = chain.verify(objects)
            self._records = chain.parse(objects)[0]
            self._events = {record.event_id: record for record in self._records}
        records = self._records
        while (found := await self._store.get(self._ref_after(records))) is not None:
            parsed, problems = chain.parse([found])
            self._problems += problems
            if not parsed:
                break
            self._problems += chain.link_problems(parsed[0], records[-1] if records else None)
            self._remember(parsed[0])
        return records

    @staticmethod
    def _ref_after(records: list[AuditRecordSpec]) -> ObjectRef:
        return ObjectRef(API_VERSION, KIND, chain.record_name(records[-1].sequence + 1 if records else 1))

    def _remember(self, record: AuditRecordSpec) -> None:
        if self._records is not None:
            self._records.append(record)
        self._events[record.event_id] = record


def _next(entry: AuditEntry, records: list[AuditRecordSpec], now: datetime) -> AuditRecordSpec:
    try:
        return chain.next_record(entry, records[-1] if records else None, now)
    except ValidationError as error:
        raise Terminal("BadAuditEntry", f"audit entry {entry.type}: {error}") from error


def _broken(problems: list[chain.Problem]) -> str:
    return (
        f"the ledger does not verify, so nothing new is approved or rolled out: {problems[0]} "
        f"({len(problems)} problems). Run `tunegate audit verify`, compare with an exported copy, and restart the operator"
    )
