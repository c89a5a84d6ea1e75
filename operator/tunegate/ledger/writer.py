"""The ledger in the cluster: append-only AuditRecords, read at the start, followed from there and read again slowly.

Anchors are read in the background and compared under the lock: appending waits for what was read, reading never does.
A record's name is its sequence number, so of two writers that want the same place one gets `AlreadyExists`, reads what
the other wrote and takes the next. Nothing is ever appended to a chain that does not verify, or that an anchor contradicts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from tunegate.api.auditrecord import AuditRecord, AuditRecordSpec
from tunegate.api.conditions import rfc3339
from tunegate.api.markers import API_VERSION
from tunegate.deadlines import ANCHORS_SECONDS
from tunegate.errors import Terminal, Transient
from tunegate.keys import PublicKey
from tunegate.kube.client import AlreadyExists, ObjectRef
from tunegate.ledger import chain, statements
from tunegate.ledger.comparison import Anchor, Comparison
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.kept_anchors import KeptAnchors
from tunegate.ledger.packed_records import PackedRecords
from tunegate.ledger.seal import SEALS, KeyRing, ledger_id
from tunegate.ledger.sequence import in_order
from tunegate.ledger.tries import Tries
from tunegate.ledger.verify import Verification
from tunegate.logs import event
from tunegate.sketch import Sketch

logger = logging.getLogger(__name__)
ATTEMPTS = 50
"""Places that may be lost to other writers before one append gives up for now."""
KIND = AuditRecord.KIND.kind
BEHIND = (
    "Nothing new is approved or rolled out. If etcd was restored from a backup, begin a new epoch "
    "(docs/operate.md, After a restored backup)"
)


class RecordStore(Protocol):
    """The three verbs of ``tunegate.kube.client.KubeClient`` that the ledger needs."""

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None: ...

    def pages(self, api_version: str, kind: str) -> AsyncIterator[list[dict[str, Any]]]: ...

    async def create(self, obj: dict[str, Any]) -> dict[str, Any]: ...


class SinceSeal(NamedTuple):
    """What a checkpoint would cover that none covers yet."""

    newest: AuditRecordSpec | None
    """The newest signed record."""
    records: int
    """How many came after it."""
    oldest: str
    """Time of the first of them; empty for none."""


def _now() -> datetime:
    return datetime.now(UTC)


async def _no_anchors() -> Sequence[Anchor]:
    return ()


class LedgerWriter:
    """Reads and appends. Safe to share between the workers of one event loop, and correct beside other writers."""

    def __init__(
        self,
        store: RecordStore,
        clock: Callable[[], datetime] = _now,
        anchors: Callable[[], Awaitable[Sequence[Anchor]]] = _no_anchors,
        keys: Sequence[PublicKey] = (),
    ) -> None:
        """``anchors`` gives the checkpoints kept outside, once, before anything is appended; ``keys`` are the operator's."""
        self._store = store
        self._clock = clock
        self._anchors = KeptAnchors(anchors)
        self._keys = keys
        self._lock = asyncio.Lock()
        self._packed: PackedRecords | None = None
        self._seen = Verification()
        self._compared: Comparison | None = None

    async def append(self, entry: AuditEntry) -> AuditRecordSpec:
        """Record the entry and return its record; an event that is recorded already is returned as it stands.

        Raises ``Transient`` when no place could be taken or the anchors were not read yet, ``Terminal`` when the chain does
        not verify.
        """
        await self._anchors.wait()
        async with self._lock:
            return await self._append(lambda _packed, _now: entry)

    async def seal(self, keys: KeyRing) -> AuditRecordSpec | None:
        """Sign the chain as it stands and return the record of it, an earlier one where nothing came since.

        When the key in force is not ``keys.key``, the rotation is recorded instead, signed by both. None for an empty
        ledger. Raises ``Transient`` as ``append`` does, ``Terminal`` when the chain does not verify, is no longer what
        this writer saw, or was last signed by a key that is not there.
        """

        def statement(packed: PackedRecords, now: datetime) -> AuditEntry | AuditRecordSpec:
            ledger, head = ledger_id(packed.at(0).hash), packed.at(len(packed) - 1)
            return statements.checkpoint(keys, ledger, head, self._seen.key_history.in_force, now)

        await self._anchors.wait()
        async with self._lock:
            packed = await self._follow()
            if not len(packed):
                return None
            await self._look_at_head(packed.at(len(packed) - 1))
            return await self._append(statement)

    async def begin_epoch(self, keys: KeyRing, reason: str, started_by: str) -> AuditRecordSpec:
        """Record that what the anchors know beyond the ledger is lost, so that it can go on.

        Raises ``Transient`` as ``append`` does, ``Terminal`` when the ledger is empty, broken, or not behind its anchors.
        """

        def start(packed: PackedRecords, now: datetime) -> AuditEntry:
            ledger, head, in_force = (
                ledger_id(packed.at(0).hash),
                packed.at(len(packed) - 1),
                self._seen.key_history.in_force,
            )
            return statements.epoch(
                keys, ledger, head, in_force, now, compared=compared, reason=reason, started_by=started_by
            )

        # A person waits for this, and it is nothing without the anchors.
        await self._anchors.wait(ANCHORS_SECONDS)
        async with self._lock:
            if not len(await self._follow()):
                raise Terminal("LedgerEmpty", "the ledger is empty: there is no chain that could go on")
            compared = self._compare()
            return await self._append(start, despite_anchors=True)

    async def since_seal(self) -> SinceSeal:
        """Return the newest signed record, and what came after it. Raises as ``append`` does."""
        await self._anchors.wait()
        async with self._lock:
            packed = await self._follow()
            self._refuse_broken()
            at = packed.last_of(SEALS)
            first = 0 if at is None else at + 1
            oldest = packed.at(first).time if first < len(packed) else ""
            return SinceSeal(None if at is None else packed.at(at), len(packed) - first, oldest)

    async def of_subject(self, uid: str) -> tuple[AuditRecordSpec, ...]:
        """Return what is recorded about the object of that UID, oldest first. Never fails for a broken chain."""
        async with self._lock:
            return (await self._follow()).of_subject(uid)

    async def of_namespace(
        self, kind: str, namespace: str, types: Collection[str], since: datetime
    ) -> tuple[AuditRecordSpec, ...]:
        """Return what of some types is recorded since then about objects of that kind and namespace, oldest first.

        Never fails for a broken chain.
        """
        async with self._lock:
            return (await self._follow()).of_namespace(kind, namespace, types, rfc3339(since))

    async def tries(self, data_digest: str, sketch: Sketch | None = None) -> Tries:
        """Return the tries on questions of that digest, or of which that sketch shows enough. Never fails for a broken chain."""
        async with self._lock:
            return (await self._follow()).tries(data_digest, sketch)

    async def problems(self) -> list[chain.Problem]:
        """Return what was found wrong with the chain so far; empty when it is intact."""
        async with self._lock:
            await self._follow()
            return list(self._seen.problems)

    async def reread(self) -> list[chain.Problem]:
        """Read all records again and return what was changed since this writer read or wrote them; it then stops appending.

        Others may append meanwhile. The chain stands for what it leads to, so one known hash compares all before it.
        Raises ``Transient`` or ``Terminal`` when the records cannot be read.
        """
        async with self._lock:
            await self._follow()
            known = self._seen.last
        fresh = Verification(chain.Head(known.sequence, known.hash) if known is not None else None)
        async for obj in in_order(self._store.pages(API_VERSION, KIND)):
            fresh.look(obj)
        found = list(fresh.report((), ()).problems)
        async with self._lock:
            self._seen.problems += [one for one in found if one not in self._seen.problems]
        return found

    async def _append(
        self,
        make: Callable[[PackedRecords, datetime], AuditEntry | AuditRecordSpec],
        *,
        despite_anchors: bool = False,
    ) -> AuditRecordSpec:
        """Take the next place for what ``make`` gives for it; a record that ``make`` gives is the answer.

        The place after what is known is tried at once: if others wrote meanwhile it is taken, and they are read first.
        """
        for attempt in range(ATTEMPTS):
            packed = self._packed
            if packed is None or attempt or self._seen.problems or self._compare().problems:
                packed = await self._follow()
            self._refuse_broken(despite_anchors=despite_anchors)
            now = self._clock()
            entry = make(packed, now)
            if isinstance(entry, AuditRecordSpec):
                return entry
            if (known := self._seen.place_of(entry.event_id)) is not None:
                return packed.at(known - 1)
            record = _next(entry, self._seen.last, now)
            obj = chain.record_object(record)
            try:
                await self._store.create(obj)
            except AlreadyExists:
                continue
            self._take(packed, obj)
            return record
        raise Transient(f"no place in the ledger after {ATTEMPTS} tries: others keep writing")

    def _refuse_broken(self, *, despite_anchors: bool = False) -> None:
        if problems := self._seen.problems:
            raise Terminal("LedgerBroken", _broken(problems))
        compared = self._compare()
        if despite_anchors or not compared.problems:
            return
        behind = compared.contradictions and all(one.behind for one in compared.contradictions)
        if behind and not compared.unusable:
            raise Terminal("LedgerBehind", f"{compared.problems[0]}. {BEHIND}")
        raise Terminal("LedgerBroken", _broken(compared.problems))

    def _compare(self) -> Comparison:
        """Compare with the anchors that were read, once: what comes later this writer sees itself."""
        if self._compared is None:
            self._compared = self._seen.compare(self._keys, self._anchors.read)
        return self._compared

    async def _look_at_head(self, head: AuditRecordSpec) -> None:
        """See that the store still has the newest record that this writer knows: a restored backup would not."""
        name = chain.record_name(head.sequence)
        live = await self._store.get(ObjectRef(API_VERSION, KIND, name))
        if live is None or live.get("spec") != head.to_dict():
            what = "is gone" if live is None else "was changed"
            self._seen.problems.append(chain.Problem(name, f"{what} after it was written or read", head.time))

    async def _follow(self) -> PackedRecords:
        """Bring the copy in memory up to the newest record. What is broken is read once and not followed."""
        if self._packed is None:
            packed, self._seen = PackedRecords(), Verification()
            async for obj in in_order(self._store.pages(API_VERSION, KIND)):
                self._take(packed, obj)
            self._packed = packed
        while not self._seen.problems:
            following = self._seen.last.sequence + 1 if self._seen.last is not None else 1
            found = await self._store.get(ObjectRef(API_VERSION, KIND, chain.record_name(following)))
            if found is None:
                break
            self._take(self._packed, found)
        return self._packed

    def _take(self, packed: PackedRecords, obj: Mapping[str, Any]) -> None:
        """Verify one record and keep it, if it can be read at all."""
        spec: Mapping[str, Any] | None = self._seen.look(obj)
        if spec is not None and (later := chain.later_form(spec)) and self._seen.later[later] == 1:
            logger.warning(
                "the ledger holds records that a newer version wrote, from %s on: %s. They are chained, and count for nothing here",
                chain.record_name(spec["sequence"]),
                later,
                extra=event("LedgerRecordUnknown", record=chain.record_name(spec["sequence"]), later=later),
            )
        if spec is None and (shown := chain.readable(obj)) is not None:
            spec = shown.to_dict()
        if spec is None:
            return
        with suppress(UnicodeError):  # The verification has named it.
            packed.add(spec)
        if spec["type"] == "EpochStarted":
            self._compared = None


def _next(entry: AuditEntry, last: chain.Link | None, now: datetime) -> AuditRecordSpec:
    try:
        return chain.next_record(entry, last, now)
    except ValidationError as error:
        raise Terminal("BadAuditEntry", f"audit entry {entry.type}: {error}") from error


def _broken(problems: Sequence[chain.Problem]) -> str:
    return (
        f"the ledger does not verify, so nothing new is approved or rolled out: {problems[0]} "
        f"({len(problems)} problems). Run `tunegate audit verify`, compare with an exported copy, and restart the operator"
    )
