"""Ledgers for tests: a store that behaves as the API server does with records, and signed chains of any length."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tunegate.keys import SigningKey
from tunegate.kube.client import AlreadyExists, ObjectRef
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.sequence import ordered
from tunegate.ledger.writer import LedgerWriter

Json = dict[str, Any]
Records = list[Json]
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Store:
    """What the API server does with records: names are unique, nothing else is checked."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}

    async def get(self, ref: ObjectRef) -> Json | None:
        await asyncio.sleep(0)
        return copy.deepcopy(self.objects.get(ref.name))

    async def pages(self, api_version: str, kind: str) -> AsyncIterator[list[Json]]:
        """Pages of three, in an order that nobody should rely on."""
        found = sorted(self.objects.values(), key=lambda one: str(one["metadata"]["name"]), reverse=True)
        for start in range(0, len(found), 3):
            await asyncio.sleep(0)
            yield copy.deepcopy(found[start : start + 3])

    async def create(self, obj: Json) -> Json:
        await asyncio.sleep(0)
        name = obj["metadata"]["name"]
        if name in self.objects:
            raise AlreadyExists(name)
        self.objects[name] = copy.deepcopy(obj)
        return obj

    @property
    def records(self) -> Records:
        """A copy of all records in order."""
        return copy.deepcopy([dict(one) for one in ordered(self.objects.values())])


class Clock:
    """A clock that goes on by a minute at each look."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def entry(number: int, **payload: str) -> AuditEntry:
    subject = AuditSubject("ModelRelease", "team", f"release-{number % 3}", f"uid-{number % 3}")
    return AuditEntry("ApprovalRecorded", "ravi", subject, str(number), payload)


def new_key() -> SigningKey:
    return SigningKey(generate_private_key(SECP256R1()))


def new_key_pem() -> bytes:
    private = generate_private_key(SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


async def sealed_ledger(ring: KeyRing, lengths: tuple[int, ...], start: int = 0) -> Store:
    """Return a ledger of so many entries between one checkpoint and the next; the last record is a checkpoint."""
    store = Store()
    writer = LedgerWriter(store, Clock())
    number = start
    for length in lengths:
        for _ in range(length):
            await writer.append(entry(number, role="risk", content=f"sha256:{number:064x}"))
            number += 1
        await writer.seal(ring)
    return store


def anchor_of(record: Json) -> Anchor:
    """Return what an anchor holds of a signed record."""
    return Anchor("kept", record["spec"]["payload"]["envelope"])


def kept(*anchors: Anchor) -> Callable[[], Awaitable[list[Anchor]]]:
    """Return what a writer asks for its anchors."""

    async def read() -> list[Anchor]:
        return list(anchors)

    return read
