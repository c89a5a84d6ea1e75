"""What a controller wants to have recorded, before it gets its place in the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunegate.api.auditrecord import EventType
from tunegate.digests import canonical_plain, sha256

OPERATOR = "tunegate-operator"
"""Actor of entries that no single person caused."""


@dataclass(frozen=True)
class AuditSubject:
    """The object that an entry speaks of; ``namespace`` is empty for cluster-scoped objects."""

    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class AuditEntry:
    """One event to record. Two entries with equal (type, subject uid, key) are the same event."""

    type: EventType
    actor: str
    subject: AuditSubject
    key: str
    """Tells apart events of one type on one object, e.g. a digest or an approval's uid."""
    payload: Mapping[str, str] = field(default_factory=dict)
    """Digests, names and decisions; never data."""

    @property
    def event_id(self) -> str:
        """Digest by which the ledger recognizes an event that it already holds."""
        return sha256(canonical_plain({"type": self.type, "uid": self.subject.uid, "key": self.key}))
