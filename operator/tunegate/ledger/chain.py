"""The chain of the ledger, pure: how a record is hashed and linked, and what is wrong with a given list of records.

Every record holds the hash of its predecessor, so an edit, a gap, a swap or an insertion shows. A cut-off tail does not
show in the chain alone: compare the head with one that was noted elsewhere (``verify`` takes it as ``anchor``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from tunegate.api.auditrecord import AuditRecord, AuditRecordSpec
from tunegate.api.conditions import rfc3339
from tunegate.api.markers import API_VERSION
from tunegate.digests import canonical, sha256
from tunegate.errors import wrong_fields
from tunegate.ledger.entry import AuditEntry

GENESIS = "sha256:" + "0" * 64
"""`previousHash` of the first record."""
DOMAIN = b"tunegate.io/audit-record/v1\n"
"""Put before the hashed bytes, so that no other document can pass for a record."""
SUBJECT_LABEL = "tunegate.io/subject-uid"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; ``where`` is the name of the record, or `ledger`."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True)
class Head:
    """Position of the newest record: what an auditor notes to find a cut-off tail later."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read `<sequence>:sha256:<hex>`. Raises ``ValueError``."""
        sequence, separator, digest = text.partition(":")
        if not separator or not digest.startswith("sha256:"):
            raise ValueError(f"{text!r}: expected <sequence>:sha256:<64 hex digits>")
        return cls(int(sequence), digest)


def record_name(sequence: int) -> str:
    """Return the object name of a sequence number: fixed, so that only one writer can take it."""
    return f"audit-{sequence:010d}"


def record_hash(spec: AuditRecordSpec) -> str:
    """Return the hash over every field but `hash`: SHA-256 of the domain and the RFC 8785 JSON."""
    content = {key: value for key, value in spec.to_dict().items() if key != "hash"}
    return sha256(DOMAIN + canonical(content))


def next_record(entry: AuditEntry, previous: AuditRecordSpec | None, now: datetime) -> AuditRecordSpec:
    """Return the record that follows ``previous`` (None: the first). Its time never lies before the predecessor's.

    Raises ``pydantic.ValidationError`` for an entry that the API would refuse.
    """
    time = rfc3339(now) if previous is None else max(rfc3339(now), previous.time)
    subject = entry.subject
    record = AuditRecordSpec.model_validate({
        "sequence": 1 if previous is None else previous.sequence + 1,
        "eventId": entry.event_id,
        "time": time,
        "type": entry.type,
        "actor": entry.actor,
        "subject": {
            "kind": subject.kind, "namespace": subject.namespace, "name": subject.name, "uid": subject.uid,
        },
        "payload": dict(entry.payload),
        "previousHash": GENESIS if previous is None else previous.hash,
        "hash": GENESIS,
    })  # fmt: skip
    return record.model_copy(update={"hash": record_hash(record)})


def record_object(spec: AuditRecordSpec) -> dict[str, Any]:
    """Return the AuditRecord to create."""
    return {
        "apiVersion": API_VERSION,
        "kind": AuditRecord.KIND.kind,
        "metadata": {"name": record_name(spec.sequence), "labels": {SUBJECT_LABEL: spec.subject.uid}},
        "spec": spec.to_dict(),
    }


def link_problems(spec: AuditRecordSpec, previous: AuditRecordSpec | None) -> list[Problem]:
    """Return what is wrong with one record as the successor of ``previous``."""
    where = record_name(spec.sequence)
    problems = []
    expected = 1 if previous is None else previous.sequence + 1
    if spec.sequence != expected:
        problems.append(Problem(where, f"record {record_name(expected)} is missing"))
    elif spec.previous_hash != (GENESIS if previous is None else previous.hash):
        problems.append(Problem(where, "previousHash is not the hash of the record before it"))
    if spec.hash != record_hash(spec):
        problems.append(Problem(where, "hash does not fit the content: the record was changed"))
    if previous is not None and spec.time < previous.time:
        problems.append(Problem(where, f"time {spec.time} lies before the time of the record before it"))
    return problems


def verify(objects: Iterable[Mapping[str, Any]], anchor: Head | None = None) -> list[Problem]:
    """Return every problem of a ledger, given as AuditRecord objects in any order; an empty list means intact.

    ``anchor`` is a head noted earlier: the ledger must still hold exactly that record.
    """
    records, problems = parse(objects)
    previous: AuditRecordSpec | None = None
    seen: dict[str, str] = {}
    for spec in records:
        problems += link_problems(spec, previous)
        first = seen.setdefault(spec.event_id, record_name(spec.sequence))
        if first != record_name(spec.sequence):
            problems.append(Problem(record_name(spec.sequence), f"records the same event as {first}"))
        previous = spec
    if anchor is not None:
        found = next((spec.hash for spec in records if spec.sequence == anchor.sequence), None)
        if found is None:
            problems.append(Problem("ledger", f"record {anchor.sequence} of the anchor is missing: the tail was cut"))
        elif found != anchor.hash:
            problems.append(Problem("ledger", f"record {anchor.sequence} has another hash than the anchor"))
    return problems


def parse(objects: Iterable[Mapping[str, Any]]) -> tuple[list[AuditRecordSpec], list[Problem]]:
    """Return the readable records by sequence, and a problem for each object that is no proper record."""
    records: list[AuditRecordSpec] = []
    problems: list[Problem] = []
    for obj in objects:
        name = str(obj.get("metadata", {}).get("name", "?"))
        try:
            spec = AuditRecordSpec.model_validate(obj.get("spec"))
        except ValidationError as error:
            problems.append(Problem(name, f"not an audit record: {wrong_fields(error)}"))
            continue
        if spec.to_dict() != obj["spec"]:
            problems.append(Problem(name, "has fields that the hash does not cover"))
        if name != record_name(spec.sequence):
            problems.append(Problem(name, f"holds sequence {spec.sequence}"))
        records.append(spec)
    return sorted(records, key=lambda spec: spec.sequence), problems


def head(records: Sequence[AuditRecordSpec]) -> Head | None:
    """Return the head of an ordered list of records."""
    return Head(records[-1].sequence, records[-1].hash) if records else None
