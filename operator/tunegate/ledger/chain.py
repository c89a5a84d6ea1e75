"""The chain of the ledger, pure: how a record is made, hashed and linked, and what is wrong with a single one.

Every record holds the hash of its predecessor, so an edit, a gap, a swap or an insertion shows. What the chain alone
cannot show, a cut-off tail or a chain made again, ``tunegate.ledger.verify`` finds by signatures and anchors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from tunegate.api.auditrecord import AuditRecord, AuditRecordSpec, AuditSubject, EventType
from tunegate.api.conditions import rfc3339
from tunegate.api.markers import API_VERSION
from tunegate.digests import canonical_plain, sha256
from tunegate.errors import wrong_fields
from tunegate.ledger.entry import AuditEntry

GENESIS = "sha256:" + "0" * 64
"""`previousHash` of the first record."""
DOMAIN = b"tunegate.io/audit-record/v1\n"
"""Put before the hashed bytes, so that no other document can pass for a record."""
SUBJECT_LABEL = "tunegate.io/subject-uid"
SERVER_METADATA = frozenset({"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"})
"""What the API server adds to a record: no part of the ledger."""
LARGEST_SEQUENCE = 2**53 - 1
"""RFC 8785 knows no larger whole number."""

_KNOWN = frozenset(str(field.alias) for field in AuditRecordSpec.model_fields.values())
_SUBJECT_KNOWN = frozenset(str(field.alias) for field in AuditSubject.model_fields.values())
_FIELDS = frozenset(str(field.alias) for field in AuditRecordSpec.model_fields.values() if field.default is not None)
"""What every record has. A field that is added later is absent in what was written before: its default is None."""
_SUBJECT_FIELDS = frozenset(
    str(field.alias) for field in AuditSubject.model_fields.values() if field.default is not None
)
_texts_of = itemgetter("eventId", "previousHash", "hash", "time", "type", "actor")
_TYPES = frozenset(get_args(EventType))
_TEXT, _LENGTHS = {str}, (71, 71, 71)
_are_digests = re.compile("(?:sha256:[0-9a-f]{64}){3}").fullmatch
_is_type = re.compile("[A-Z][A-Za-z]{2,63}").fullmatch
_is_time = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z").fullmatch


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; ``where`` is the name of the record, an anchor's, or `ledger`; ``time`` is the record's."""

    where: str
    message: str
    time: str = ""

    def __str__(self) -> str:
        return f"{self.where} ({self.time}): {self.message}" if self.time else f"{self.where}: {self.message}"


class Link(NamedTuple):
    """What a record's successor must fit."""

    sequence: int
    hash: str
    time: str


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


def head(records: Sequence[AuditRecordSpec]) -> Head | None:
    """Return the head of records in their order."""
    return Head(records[-1].sequence, records[-1].hash) if records else None


def record_name(sequence: int) -> str:
    """Return the object name of a sequence number: fixed, so that only one writer can take it."""
    return f"audit-{sequence:010d}"


def record_hash(spec: AuditRecordSpec) -> str:
    """Return the hash over every field but `hash`: SHA-256 of the domain and the RFC 8785 JSON."""
    return content_hash(spec.to_dict())


def content_hash(spec: Mapping[str, Any]) -> str:
    """Return the hash of a record of strings and whole numbers. Raises ``ValueError`` for text that UTF-8 cannot hold."""
    content = dict(spec)
    content.pop("hash", None)
    return sha256(DOMAIN + canonical_plain(content))


def next_time(previous: AuditRecordSpec | Link | None, now: datetime) -> str:
    """Return the time of the record after ``previous``: never before its predecessor's."""
    return rfc3339(now) if previous is None else max(rfc3339(now), previous.time)


def next_record(entry: AuditEntry, previous: AuditRecordSpec | Link | None, now: datetime) -> AuditRecordSpec:
    """Return the record that follows ``previous`` (None: the first). Its time never lies before the predecessor's.

    Raises ``pydantic.ValidationError`` for an entry that the API would refuse.
    """
    subject = entry.subject
    record = AuditRecordSpec.model_validate({
        "sequence": 1 if previous is None else previous.sequence + 1,
        "eventId": entry.event_id,
        "time": next_time(previous, now),
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


def well_formed(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of an object that is an audit record. Raises ``ValueError`` saying which fields are wrong."""
    spec = obj.get("spec")
    if not isinstance(spec, dict) or not _exact(spec):
        raise ValueError(f"not an audit record: {_wrong(spec)}")
    return spec


def readable(obj: Mapping[str, Any]) -> AuditRecordSpec | None:
    """Return a record that can be shown, whether it is in order or not."""
    try:
        return AuditRecordSpec.model_validate(obj.get("spec"))
    except ValidationError:
        return None


def faults(obj: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a well-formed record by itself: its kind, its name and label, its hash."""
    spec, metadata = obj["spec"], obj.get("metadata")
    found = []
    if (obj.get("apiVersion"), obj.get("kind"), len(obj)) != (API_VERSION, AuditRecord.KIND.kind, 4):
        found.append(f"is not of {API_VERSION}, kind {AuditRecord.KIND.kind}, with metadata and spec and nothing else")
    wanted = {"name": record_name(spec["sequence"]), "labels": {SUBJECT_LABEL: spec["subject"]["uid"]}}
    if metadata != wanted:
        found += _wrong_metadata(metadata, wanted)
    try:
        if spec["hash"] != content_hash(spec):
            found.append("hash does not fit the content: the record was changed")
    except ValueError:
        found.append("holds text that is not Unicode")
    return found


def _wrong_metadata(metadata: object, wanted: Mapping[str, Any]) -> list[str]:
    """Return which of name and label is wrong, or what is there that neither we nor the API server put there."""
    if not isinstance(metadata, dict) or metadata.get("name") != wanted["name"]:
        return [f"its name must be {wanted['name']}, after its sequence"]
    if metadata.get("labels") != wanted["labels"]:
        return [f"its labels must be {SUBJECT_LABEL} with the subject's uid, nothing else"]
    if metadata.keys() - wanted.keys() - SERVER_METADATA:
        return ["its metadata hold more than name, label and what the API server adds"]
    return []


def _exact(spec: dict[str, Any]) -> bool:
    """Tell whether the types and forms of all fields are exactly those that the operator writes.

    By hand and not by the model: it is stricter (a `1.0` or `true` is no sequence) and takes a quarter of the time.
    """
    if spec.keys() != _FIELDS and not (spec.keys() > _FIELDS and _later_fields_are_texts(spec, _FIELDS)):
        return False
    subject, payload, sequence = spec["subject"], spec["payload"], spec["sequence"]
    event, previous, own, time, type_, actor = _texts_of(spec)
    return (
        type(sequence) is int
        and 1 <= sequence <= LARGEST_SEQUENCE
        and type(subject) is dict
        and subject.keys() >= _SUBJECT_FIELDS
        and type(payload) is dict
        and {type(event), type(previous), type(own), type(time), type(type_), type(actor)} == _TEXT
        and set(map(type, subject.values())) == _TEXT
        and not set(map(type, payload.values())) - _TEXT
        and (len(event), len(previous), len(own)) == _LENGTHS
        and _are_digests(event + previous + own) is not None
        and _is_time(time) is not None
        and (type_ in _TYPES or _is_type(type_) is not None)
    )


def _later_fields_are_texts(spec: Mapping[str, Any], known: frozenset[str]) -> bool:
    later = [spec[name] for name in spec.keys() - known]
    texts = [text for value in later for text in (value.values() if type(value) is dict else (value,))]
    return all(type(text) is str for text in texts)


def later_form(spec: Mapping[str, Any]) -> str:
    """Return what of a well-formed record a newer version must have written, as `type X, field y`; empty: nothing."""
    said = [] if spec["type"] in _TYPES else [f"type {spec['type']}"]
    said += [f"field {name}" for name in sorted(spec.keys() - _KNOWN)]
    return ", ".join([*said, *(f"field subject.{name}" for name in sorted(spec["subject"].keys() - _SUBJECT_KNOWN))])


def _wrong(spec: object) -> str:
    try:
        AuditRecordSpec.model_validate(spec, strict=True)
    except ValidationError as error:
        return wrong_fields(error)
    return "lacks fields, has some that are no text, or its time is not of the form 2026-01-31T12:00:00Z"


def link_faults(spec: Mapping[str, Any], previous: Link | None) -> list[str]:
    """Return what is wrong with a well-formed record as the successor of ``previous`` (None: as the first)."""
    expected = 1 if previous is None else previous.sequence + 1
    if spec["sequence"] > expected:
        last = spec["sequence"] - 1
        missing = record_name(expected) + (f" to {record_name(last)}" if last > expected else "")
        return [f"{missing} is missing before it"]
    if spec["sequence"] < expected:
        return [f"stands after {record_name(expected - 1)}: it is there twice, or out of order"]
    if spec["previousHash"] != (GENESIS if previous is None else previous.hash):
        return ["previousHash is not the hash of the record before it"]
    if previous is not None and spec["time"] < previous.time:
        return [f"time {spec['time']} lies before the time of the record before it"]
    return []
