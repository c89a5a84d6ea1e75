"""Break-glass: a release is served for a time although its quorum is missing, because people answer for it by name.

A release can be overridden once. What opened it is the ledger's record, so it ends at the time that stands there, whatever
becomes of the live policy; every end but the after-review closes the route before it is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tunegate.api.approval import Approval, CountedApproval
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.conditions import from_rfc3339
from tunegate.api.modelrelease import ModelRelease, Override, OverrideOutcome
from tunegate.api.reasons import ReleaseReason
from tunegate.ledger.entry import AuditEntry
from tunegate.reconcile.approvals import tally
from tunegate.reconcile.modelrelease import ledger_entries
from tunegate.reconcile.modelrelease.status import ConditionDraft
from tunegate.release.ballot import Verdict

ENDS = {
    "Reviewed": (ReleaseReason.OVERRIDE_REVIEWED, "its quorum was reached in time"),
    "Expired": (ReleaseReason.OVERRIDE_EXPIRED, "its time is over"),
    "Withdrawn": (ReleaseReason.OVERRIDE_WITHDRAWN, "who overrode took it back"),
    "Stopped": (ReleaseReason.OVERRIDE_STOPPED, "the release was rejected or revoked"),
}


@dataclass(frozen=True)
class BreakGlassState:
    """What people decided and what the ledger says of it."""

    verdict: Verdict
    """The count of the overrides."""
    now: datetime
    granted: AuditRecordSpec | None = None
    ended: AuditRecordSpec | None = None
    approved: AuditRecordSpec | None = None
    """The approval that stands."""
    stopped: bool = False

    @property
    def outcome(self) -> OverrideOutcome | None:
        """How it ended; None: it was never granted, or holds."""
        if self.granted is None:
            return None
        if self.ended is not None:
            return self.ended.payload["outcome"]  # type: ignore[return-value]
        if self.stopped:
            return "Stopped"
        if not self.verdict.withdrawn.isdisjoint(self.granted.payload["approvals"].split(",")):
            return "Withdrawn"
        until = from_rfc3339(self.granted.payload["expirationTime"])
        if self.approved is not None and from_rfc3339(self.approved.time) < until:
            return "Reviewed"
        return "Expired" if self.now >= until else None

    @property
    def in_force(self) -> bool:
        """Whether the release may be served without its quorum now."""
        return self.granted is not None and self.outcome is None

    @property
    def called_for(self) -> bool:
        """Whether enough people override and nobody did before."""
        return self.granted is None and self.verdict.outcome == "Quorum"

    @property
    def seconds_left(self) -> float | None:
        """After how long it ends by itself; None: it does not hold."""
        if self.granted is None or not self.in_force:
            return None
        return (from_rfc3339(self.granted.payload["expirationTime"]) - self.now) / timedelta(seconds=1) + 0.1

    def ending(self, release: ModelRelease) -> tuple[AuditEntry, ...]:
        """Return the entry that an end calls for that is not recorded yet."""
        if self.ended is not None or self.outcome is None:
            return ()
        return (ledger_entries.override_ended(release, self.outcome),)


def look(
    records: Sequence[AuditRecordSpec], overrides: Verdict, withdrawn: frozenset[str], *, stopped: bool, now: datetime
) -> BreakGlassState:
    """Return the state; ``withdrawn`` are the approvals that were taken back, ``stopped``: rejected or revoked."""
    return BreakGlassState(
        verdict=overrides,
        now=now,
        granted=ledger_entries.last(records, "BreakGlassGranted"),
        ended=ledger_entries.last(records, "BreakGlassEnded"),
        approved=ledger_entries.standing_approval(records, withdrawn),
        stopped=stopped,
    )


def conditions(glass: BreakGlassState) -> tuple[ConditionDraft, ...]:
    """Return the condition, once the release was overridden."""
    if glass.granted is None:
        return ()
    if glass.outcome is None:
        return (ConditionDraft("Overridden", "True", ReleaseReason.OVERRIDE_IN_FORCE, warning(glass.granted)),)
    reason, text = ENDS[glass.outcome]
    return (
        ConditionDraft("Overridden", "False", reason, f"overridden by {glass.granted.payload['approvers']}; {text}"),
    )


def warning(granted: AuditRecordSpec) -> str:
    """Say who lets it be served without what, and until when."""
    payload = granted.payload
    return (
        f"BREAK GLASS: served without its quorum (missing {payload['missing']}), overridden by {payload['approvers']} "
        f"until {payload['expirationTime']}. Then its route closes, unless the quorum is reached before"
    )


def note(glass: BreakGlassState) -> str:
    """Say, where it does not hold, what there is to say about overriding."""
    if glass.outcome is not None:
        return f". It was overridden and is not any more: {ENDS[glass.outcome][1]}. A release is overridden only once"
    if glass.verdict.counted:
        return f". Overrides: {len(glass.verdict.counted)} of {glass.verdict.required}"
    return ""


def with_dropped(verdict: Verdict, overrides: Verdict) -> Verdict:
    """Return the count of the approvals with the overrides that do not count among what was dropped."""
    known = {one.vote.uid for one in verdict.dropped}
    more = [one for one in overrides.dropped if one.vote.uid not in known]
    both = sorted([*verdict.dropped, *more], key=lambda one: (one.vote.created, one.vote.name))
    return replace(verdict, dropped=tuple(both))


def override_status(glass: BreakGlassState, approvals: Sequence[Approval]) -> Override | None:
    """Return what the status shows; None: nobody overrides."""
    if glass.granted is None:
        shown = tally(glass.verdict)
        return Override(overrides=shown["approvals"], counted=shown["counted"]) if shown["counted"] else None
    payload = glass.granted.payload
    used = set(payload["approvals"].split(","))
    counted = [
        CountedApproval(
            name=one.name,
            username=one.spec.approver.username,
            person_id=one.spec.approver.person_id,
            role=one.spec.role,
            time=str(one.metadata["creationTimestamp"]),
        )
        for one in approvals
        if one.uid in used
    ]
    return Override(
        overrides=f"{len(used)}/{len(used)}",
        counted=counted,
        granted_time=glass.granted.time,
        expiration_time=payload["expirationTime"],
        outcome=glass.outcome,
    )
