"""The ledger in the cluster: append-only AuditRecords, read once and followed from there.

A record's name is its sequence number, so of two writers that want the same place one gets `AlreadyExists`, reads what
the other wrote and takes the next. Nothing is ever appended to a chain that does not verify, or that an anchor contradicts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import ValidationError

from tunegate.api.auditrecord import AuditRecord, AuditRecordSpec
from tunegate.api.markers import API_VERSION
from tunegate.errors import Terminal, Transient
from tunegate.kube.client import AlreadyExists, ObjectRef
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.seal import KeyRing, ledger_id, read_seal, rotation, seal, sealing_entry, statement
from tunegate.ledger.verify import SEALS, Anchor, ordered, verify

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

    def __init__(
        self,
        store: RecordStore,
        clock: Callable[[], datetime] = _now,
        anchors: Callable[[], Sequence[Anchor]] = tuple,
    ) -> None:
        """``anchors`` gives the checkpoints kept outside, once, when the ledger is first read."""
        self._store = store
        self._clock = clock
        self._anchors = anchors
        self._lock = asyncio.Lock()
        self._records: list[AuditRecordSpec] | None = None
        self._events: dict[str, AuditRecordSpec] = {}
        self._problems: list[chain.Problem] = []

    async def append(self, entry: AuditEntry) -> AuditRecordSpec:
        """Record the entry and return its record; an event that is recorded already is returned as it stands.

        Raises ``Transient`` when no place could be taken, ``Terminal`` when the chain does not verify.
        """
        async with self._lock:
            return await self._append(lambda _records, _now: entry)

    async def seal(self, keys: KeyRing) -> AuditRecordSpec | None:
        """Sign the chain as it stands and return the record of it, an earlier one where nothing came since.

        When the key in force is not ``keys.key``, the rotation is recorded instead, signed by both. None for an empty
        ledger. Raises ``Transient`` as ``append`` does, ``Terminal`` when the chain does not verify, is no longer what
        this writer saw, or was last signed by a key that is not there.
        """
        async with self._lock:
            records = await self._follow()
            if not records:
                return None
            await self._look_at_head(records[-1])
            self._refuse_broken()
            return await self._append(lambda records, now: _statement(keys, records, now))

    async def since_seal(self) -> tuple[AuditRecordSpec | None, tuple[AuditRecordSpec, ...]]:
        """Return the newest signed record, if there is one, and what came after it. Raises ``Terminal`` when broken."""
        async with self._lock:
            records = await self._follow()
            self._refuse_broken()
            at = _last_seal(records)
            return (records[at] if at is not None else None), tuple(records[0 if at is None else at + 1 :])

    async def _append(
        self, make: Callable[[list[AuditRecordSpec], datetime], AuditEntry | AuditRecordSpec]
    ) -> AuditRecordSpec:
        """Take the next place for what ``make`` gives for it; a record that ``make`` gives is the answer."""
        for _ in range(ATTEMPTS):
            records = await self._follow()
            self._refuse_broken()
            now = self._clock()
            entry = make(records, now)
            if isinstance(entry, AuditRecordSpec):
                return entry
            if (known := self._events.get(entry.event_id)) is not None:
                return known
            record = _next(entry, records, now)
            try:
                await self._store.create(chain.record_object(record))
            except AlreadyExists:
                continue
            self._remember(record)
            return record
        raise Transient(f"no place in the ledger after {ATTEMPTS} tries: others keep writing")

    def _refuse_broken(self) -> None:
        if self._problems:
            raise Terminal("LedgerBroken", _broken(self._problems))

    async def _look_at_head(self, head: AuditRecordSpec) -> None:
        """See that the store still has the newest record that this writer knows: a restored backup would not."""
        name = chain.record_name(head.sequence)
        live = await self._store.get(ObjectRef(API_VERSION, KIND, name))
        if live is None or live.get("spec") != head.to_dict():
            what = "is gone" if live is None else "was changed"
            self._problems.append(chain.Problem(name, f"{what} after it was written or read", head.time))

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
            objects = ordered(await self._store.list(API_VERSION, KIND))
            self._problems = self._examine(objects)
            self._records = [spec for obj in objects if (spec := chain.readable(obj)) is not None]
            self._events = {record.event_id: record for record in self._records}
        records = self._records
        while (found := await self._store.get(self._ref_after(records))) is not None:
            self._problems += _problems_of(found, records[-1] if records else None)
            if (spec := chain.readable(found)) is None:
                break
            self._remember(spec)
        return records

    def _examine(self, objects: Sequence[Mapping[str, Any]]) -> list[chain.Problem]:
        """Return what is wrong. Anchors that cannot be read stop whoever appends, but nobody who only reads."""
        anchors: Sequence[Anchor] = ()
        unread = []
        try:
            anchors = self._anchors()
        except (OSError, ValueError) as error:
            unread = [chain.Problem("anchors", f"cannot be read: {error}")]
        return [*unread, *verify(objects, anchors=anchors).problems]

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


def _problems_of(obj: Mapping[str, Any], previous: AuditRecordSpec | None) -> list[chain.Problem]:
    link = None if previous is None else chain.Link(previous.sequence, previous.hash, previous.time)
    name = str(obj["metadata"]["name"])
    try:
        spec = chain.well_formed(obj)
    except ValueError as error:
        return [chain.Problem(name, str(error))]
    return [chain.Problem(name, one, spec["time"]) for one in chain.faults(obj) + chain.link_faults(spec, link)]


def _last_seal(records: Sequence[AuditRecordSpec]) -> int | None:
    return next((at for at in range(len(records) - 1, -1, -1) if records[at].type in SEALS), None)


def _key_in_force(records: Sequence[AuditRecordSpec]) -> str | None:
    """Return the id of the key that signed last: of two signatures, that of the key that came."""
    at = _last_seal(records)
    return None if at is None else read_seal(records[at].payload["envelope"]).key_ids[-1]


def _statement(keys: KeyRing, records: Sequence[AuditRecordSpec], now: datetime) -> AuditEntry | AuditRecordSpec:
    """Return the checkpoint over ``records``, the rotation where another key was in force, or what already is either."""
    head, ledger, in_force, public = records[-1], ledger_id(records[0].hash), _key_in_force(records), keys.key.public
    if head.type in SEALS and in_force == public.id:
        return head
    content = statement(ledger, head.sequence, head.hash, chain.next_time(head, now))
    if in_force in (None, public.id):
        payload = {"envelope": seal(content, [keys.key]), "publicKey": public.pem}
        return sealing_entry("CheckpointSigned", ledger, head.hash, payload)
    if keys.previous is None or keys.previous.public.id != in_force:
        raise Terminal(
            "LedgerKeyUnknown",
            f"the ledger was last signed by key {in_force}, the operator now has {public.id}: add the old key to its "
            "Secret as previous.pem, so that it can hand over",
        )
    handed = rotation(content, keys.previous.public, public)
    return sealing_entry("KeyRotated", ledger, head.hash, {"envelope": seal(handed, [keys.previous, keys.key])})


def _broken(problems: list[chain.Problem]) -> str:
    return (
        f"the ledger does not verify, so nothing new is approved or rolled out: {problems[0]} "
        f"({len(problems)} problems). Run `tunegate audit verify`, compare with an exported copy, and restart the operator"
    )
