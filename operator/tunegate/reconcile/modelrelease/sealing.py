"""Sealing the evidence of a release: it is signed and the ledger says so, before anybody is asked to approve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.reasons import ReleaseReason
from tunegate.ledger.entry import AuditEntry
from tunegate.reconcile.modelrelease import ledger_entries
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.reconcile.modelrelease.status import ConditionDraft, StatusDraft
from tunegate.release.evidence import Shortfall

Signatures = Mapping[str, str]
"""OCI digests of what was signed and of the documents, all attached to the adapter, by name, and the id of the key."""


@dataclass(frozen=True)
class Sealing:
    """What is to be recorded, and what is said of the release while approvals have to wait; None: they need not."""

    audit: tuple[AuditEntry, ...] = ()
    draft: StatusDraft | None = None


def seal(
    release: ModelRelease,
    frozen: Frozen,
    records: Sequence[AuditRecordSpec],
    signatures: Signatures | Shortfall | None,
) -> Sealing:
    """Return the step of sealing. ``signatures`` is None where the operator has no key, or has signed and recorded it.

    A release that was approved before there was a key is signed as well, and goes on meanwhile.
    """
    if signatures is None or ledger_entries.last(records, "EvidenceSealed") is not None:
        return Sealing()
    short = Shortfall(ReleaseReason.WAITING_FOR_LEDGER, "the evidence is signed; waiting for the ledger")
    audit: tuple[AuditEntry, ...] = ()
    if isinstance(signatures, Shortfall):
        short = signatures
    else:
        audit = (ledger_entries.evidence_sealed(release, frozen, signatures),)
    if ledger_entries.last(records, "ReleaseApproved") is not None:
        return Sealing(audit)
    draft = StatusDraft(
        phase="Failed" if short.final else "PendingEvidence",
        message=short.message,
        conditions=(ConditionDraft("EvidenceComplete", "False", short.reason, short.message),),
        frozen=frozen,
        server=frozen.statement.engine.server,
        show_digest=False,
    )
    return Sealing(audit, draft)
