"""Whether the approvals on which a release rests still make its quorum. Pure.

Time, RBAC and the admission rules may take away what people agreed to. What runs goes on without them, since only people
take it down; but nothing new is rolled out until the quorum is there again.
"""

from __future__ import annotations

from collections.abc import Mapping

from tunegate.api.approval import DropReason
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.reasons import ReleaseReason
from tunegate.ledger.entry import AuditEntry
from tunegate.reconcile.modelrelease import ledger_entries
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.reconcile.modelrelease.status import ConditionDraft
from tunegate.release.ballot import Verdict

CAUSES: Mapping[DropReason, ReleaseReason] = {
    "Expired": ReleaseReason.APPROVAL_EXPIRED,
    "NotAuthorized": ReleaseReason.APPROVER_NOT_AUTHORIZED,
    "RulesNotInForce": ReleaseReason.RULES_NOT_IN_FORCE,
}
"""Why an approval that was counted may count no more; other causes, and several at once, are told in the message."""


def lost(verdict: Verdict, record: AuditRecordSpec) -> ConditionDraft:
    """Return the condition; ``verdict`` is the count now, ``record`` the one of the quorum that was reached."""
    if verdict.outcome == "Quorum":
        return ConditionDraft("QuorumLost", "False", ReleaseReason.APPROVALS_IN_FORCE)
    gone = [one for one in verdict.dropped if one.vote.uid in _approvals(record)]
    causes = {CAUSES.get(one.reason, ReleaseReason.APPROVALS_LOST) for one in gone}
    reason = causes.pop() if len(causes) == 1 else ReleaseReason.APPROVALS_LOST
    named = ", ".join(f"{one.vote.name} ({one.reason})" for one in gone) or "some that are gone"
    message = (
        f"approvals that do not count any more: {named}. Nothing new is rolled out until the quorum is there again"
    )
    return ConditionDraft("QuorumLost", "True", reason, message)


def renewed(release: ModelRelease, frozen: Frozen, verdict: Verdict, record: AuditRecordSpec) -> tuple[AuditEntry, ...]:
    """Approvals of which some stopped counting may be replaced by others: that is recorded as well."""
    counted = {entry.vote.uid for entry in verdict.counted}
    if verdict.outcome != "Quorum" or counted.issuperset(_approvals(record)):
        return ()
    return (ledger_entries.approved(release, frozen.digest, verdict),)


def _approvals(record: AuditRecordSpec) -> frozenset[str]:
    return frozenset(record.payload["approvals"].split(","))
