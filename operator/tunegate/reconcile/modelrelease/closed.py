"""Whether everything about a stopped release is written down, so that no count has anything to add. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.modelrelease import ModelRelease
from tunegate.reconcile.approvals import recorded
from tunegate.reconcile.modelrelease.ledger_entries import last, lost_records, subject_of


def closed(release: ModelRelease, records: Sequence[AuditRecordSpec], approvals: Sequence[Approval]) -> bool:
    """Tell whether the ledger holds the stop and every decision, none of them changed since, and the status says so too."""
    known = {record.event_id for record in records}
    status = release.status
    stop = last(records, "ReleaseRevoked") or last(records, "ReleaseDenied")
    override_told = status.override is not None and status.override.outcome is not None
    override_open = last(records, "BreakGlassGranted") is not None and not override_told
    return (
        stop is not None
        and (status.phase == "Revoked") == (stop.type == "ReleaseRevoked")
        and status.observed_generation == release.generation
        and not override_open
        and all(entry.event_id in known for entry in recorded(subject_of(release), approvals))
        and not lost_records(records, approvals)
    )
