"""Planner of ModelRelease: from evidence over approvals to serving. Pure; the clock comes in.

The ledger is read, not remembered: a release is requested, approved, denied or revoked when its record exists. So every
step up first appends its record and is taken in the next pass, while a step down is taken at once and recorded after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.modelrelease import MAY_SERVE, ModelRelease, ReleasePhase
from tunegate.api.modelserver import ModelServer
from tunegate.api.reasons import ReleaseReason
from tunegate.reconcile import approvals
from tunegate.reconcile.modelrelease import break_glass, ledger_entries, quorum_lost
from tunegate.reconcile.modelrelease.break_glass import BreakGlassState
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.reconcile.modelrelease.sealing import Signatures, seal
from tunegate.reconcile.modelrelease.serving import held, served
from tunegate.reconcile.modelrelease.status import ConditionDraft, StatusDraft, status_of, stopped_status
from tunegate.reconcile.plan import AuditEntry, EventNote, Plan
from tunegate.reconcile.stops import Stop, final_message
from tunegate.release.ballot import Verdict
from tunegate.release.evidence import Shortfall

WAIT = 15.0
"""Seconds between looks at evidence that is not there yet."""
UNHELD = 30.0
"""Seconds between questions to RBAC while something approved waits to be rolled out: nobody tells when a right goes."""
SOON = 0.1


@dataclass(frozen=True)
class Observed:
    """The world as one reconcile read it."""

    release: ModelRelease
    approvals: tuple[Approval, ...]
    """That name this release (by name; some may mean an earlier one)."""
    verdict: Verdict
    """The count under the frozen policy, or under no policy while there is none."""
    overrides: Verdict
    """The count of those who break the glass, in the same way."""
    records: tuple[AuditRecordSpec, ...]
    """The ledger's records about this release, oldest first."""
    frozen: Frozen | None = None
    unreadable: tuple[str, ...] = ()
    """Names of approvals of it that cannot be read: while there are some, those that can be make no quorum."""
    shortfall: Shortfall | None = None
    """Why there is no statement, or why it cannot be read."""
    changed: tuple[str, ...] = ()
    """Parts of the statement that live objects contradict."""
    unguarded: tuple[str, ...] = ()
    """What was made while the admission rules were not in force: the job, the release."""
    server: ModelServer | None = None
    signatures: Signatures | Shortfall | None = None
    """What was signed and waits for its record, or why nothing could be; see ``sealing.seal``."""


def plan(seen: Observed, now: datetime) -> Plan:
    """Return the next step of the release."""
    stop = _stop(seen)
    withdrawn = seen.verdict.withdrawn
    glass = break_glass.look(seen.records, seen.overrides, withdrawn, stopped=stop is not None, now=now)
    draft, audit = stop or _conclude(seen, glass)
    audit = (*audit, *glass.ending(seen.release))
    recorded = approvals.recorded(ledger_entries.subject_of(seen.release), seen.approvals)
    known = {record.event_id for record in seen.records}
    pending = tuple(entry for entry in (*recorded, *audit) if entry.event_id not in known)
    phase = seen.release.status.phase
    stops_now = draft.phase not in MAY_SERVE and (phase in MAY_SERVE or draft.phase in ("Denied", "Revoked"))
    if stops_now and phase != draft.phase:
        later, pending = pending, ()
        requeue: float | None = SOON if later else None
    else:
        requeue = SOON if pending else _later(draft, seen, glass)
    return Plan(
        audit=pending,
        status=status_of(seen.release, _told(draft, seen, glass), now),
        events=() if phase == draft.phase else (_event(draft, phase),),
        requeue_after=requeue,
        uid=seen.release.uid,
    )


def plan_stop(release: ModelRelease, found: Stop | None, now: datetime) -> Plan | None:
    """Return the step that stops the release without waiting for anything; None where its phase says so already."""
    phase = release.status.phase
    if found is None or phase in (found.phase, "Revoked"):
        return None
    draft = StatusDraft(found.phase, found.message)
    return Plan(
        status=stopped_status(release, found, now),
        events=(_event(draft, phase),),
        requeue_after=SOON,
        uid=release.uid,
    )


def _told(draft: StatusDraft, seen: Observed, glass: BreakGlassState) -> StatusDraft:
    """Return the draft with what is told of every release, whatever is the case."""
    ever = ledger_entries.last(seen.records, "ReleaseApproved")
    return replace(
        draft,
        conditions=(*draft.conditions, *break_glass.conditions(glass)),
        verdict=break_glass.with_dropped(draft.verdict, seen.overrides) if draft.verdict is not None else None,
        approved_time=draft.approved_time or (ever.time if ever is not None else None),
        override=break_glass.override_status(glass, seen.approvals),
    )


def _conclude(seen: Observed, glass: BreakGlassState) -> tuple[StatusDraft, tuple[AuditEntry, ...]]:
    """Return what is the case, and the entries that it calls for beside the decisions themselves."""
    if ledger_entries.last(seen.records, "ReleaseRequested") is None:
        if seen.frozen is None:
            return _without_statement(seen), ()
        draft = StatusDraft(
            phase="PendingEvidence",
            message="the statement is stored; waiting for the ledger",
            conditions=(
                ConditionDraft(
                    "EvidenceComplete", "False", ReleaseReason.WAITING_FOR_LEDGER, "the request is being recorded"
                ),
            ),
            frozen=seen.frozen,
            server=seen.frozen.statement.engine.server,
            show_digest=False,
        )
        return draft, (ledger_entries.requested(seen.release, seen.frozen),)
    if seen.frozen is None:
        return _unreadable(seen, glass), ()
    sealing = seal(seen.release, seen.frozen, seen.records, seen.signatures)
    if sealing.draft is not None:
        return sealing.draft, sealing.audit
    draft, audit = _judge(seen, seen.frozen, glass)
    return draft, (*sealing.audit, *audit)


def _stop(seen: Observed) -> tuple[StatusDraft, tuple[AuditEntry, ...]] | None:
    """Denied or Revoked, by a decision that is there now or by one that the ledger remembers."""
    record = ledger_entries.last(seen.records, "ReleaseRevoked") or ledger_entries.last(seen.records, "ReleaseDenied")
    verdict = seen.verdict
    if record is None and verdict.outcome not in ("Rejected", "Revoked"):
        return None
    revoked = verdict.outcome == "Revoked" or (record is not None and record.type == "ReleaseRevoked")
    reason = ReleaseReason.REVOKED if revoked else ReleaseReason.REJECTED
    audit: tuple[AuditEntry, ...] = ()
    if verdict.stops:
        by = verdict.stops[0].account.username
        audit = (
            ledger_entries.stopped(seen.release, "ReleaseRevoked" if revoked else "ReleaseDenied", verdict.stops[0]),
        )
    else:
        by = record.actor if record is not None else ""
    word = "revoked" if revoked else "rejected"
    message = final_message(seen.release, "Revoked" if revoked else "Denied", by)
    conditions = [
        ConditionDraft("Approved", "False", reason, message),
        ConditionDraft("Ready", "False", reason, f"{word}: its route is closed"),
        _tampered(seen),
    ]
    if seen.frozen is not None:
        conditions.insert(0, ConditionDraft("EvidenceComplete", "True", ReleaseReason.EVIDENCE_SEALED))
    draft = StatusDraft(
        phase="Revoked" if revoked else "Denied", message=message, conditions=tuple(conditions), verdict=verdict,
        frozen=seen.frozen,
    )  # fmt: skip
    return draft, audit


def _without_statement(seen: Observed) -> StatusDraft:
    short = seen.shortfall or Shortfall(ReleaseReason.WAITING_FOR_JOB, "waiting for the job's evidence")
    return StatusDraft(
        phase="Failed" if short.final else "PendingEvidence",
        message=short.message,
        conditions=(ConditionDraft("EvidenceComplete", "False", short.reason, short.message),),
    )


def _unreadable(seen: Observed, glass: BreakGlassState) -> StatusDraft:
    """The statement was made but cannot be read: nothing new is approved, what runs by an approval stays."""
    short = seen.shortfall or Shortfall(ReleaseReason.WAITING_FOR_REGISTRY, "the release statement cannot be read")
    status = seen.release.status
    lost = short.reason is ReleaseReason.DIGEST_MISMATCH
    phase: ReleasePhase = status.phase
    if phase == "Overridden" and not glass.in_force:
        phase = "PendingApproval"
    if lost and (phase not in MAY_SERVE or phase == "Overridden" or not held(seen.release, seen.server)):
        phase = "Failed"
    kept = tuple(
        ConditionDraft(condition.type, condition.status, ReleaseReason(condition.reason), condition.message)
        for condition in status.conditions
        if condition.type in ("Approved", "Superseded", "QuorumLost")
        or (condition.type == "Ready" and phase in MAY_SERVE)
    )
    conditions = (
        ConditionDraft("EvidenceComplete", "False" if lost else "Unknown", short.reason, short.message),
        *kept,
    )
    tampered = ConditionDraft("Tampered", "True" if lost else "Unknown", short.reason, short.message)
    return StatusDraft(phase, short.message, (*conditions, tampered), approved_time=status.approved_time)


def _judge(seen: Observed, frozen: Frozen, glass: BreakGlassState) -> tuple[StatusDraft, tuple[AuditEntry, ...]]:
    """The statement stands: is it still true, is it approved, is it served?"""
    draft = StatusDraft(
        "PendingApproval", "", verdict=seen.verdict, frozen=frozen, server=frozen.statement.engine.server,
        conditions=(ConditionDraft("EvidenceComplete", "True", ReleaseReason.EVIDENCE_SEALED),),
    )  # fmt: skip
    tampered, record = _tampered(seen), glass.approved
    if tampered.status == "True" and (record is None or not held(seen.release, seen.server)):
        message = f"{tampered.message}. Nothing is rolled out; find out who changed it, then create a new release"
        approved = ConditionDraft("Approved", "False", tampered.reason, tampered.message)
        return replace(draft, phase="Failed", message=message, conditions=(*draft.conditions, approved, tampered)), ()
    draft = replace(draft, conditions=(*draft.conditions, tampered))
    if record is not None:
        renewed = quorum_lost.renewed(seen.release, frozen, seen.verdict, record)
        return _approved(seen, frozen, draft, record, tampered), renewed
    if glass.granted is not None and glass.in_force:
        return _overridden(seen, frozen, draft, glass.granted)
    return _waiting(seen, frozen, draft, glass)


def _approved(
    seen: Observed, frozen: Frozen, draft: StatusDraft, record: AuditRecordSpec, tampered: ConditionDraft
) -> StatusDraft:
    phase, message, conditions = served(seen.release, frozen, seen.server, "approved")
    approval = ConditionDraft("Approved", "True", ReleaseReason.QUORUM_REACHED, record.payload["approvers"])
    if tampered.status == "True":
        message = f"{tampered.message}. What runs keeps running, nothing new is rolled out. {message}"
    lost = quorum_lost.lost(seen.verdict, record)
    if lost.status == "True" and seen.unreadable:
        lost = replace(lost, message=approvals.unread(seen.unreadable))
    if lost.status == "True":
        message = f"{lost.message}. {message if held(seen.release, seen.server) else _asking(seen)}"
    conditions = (*draft.conditions, approval, *conditions, lost)
    return replace(draft, phase=phase, message=message, conditions=conditions, approved_time=record.time)


def _overridden(
    seen: Observed, frozen: Frozen, draft: StatusDraft, granted: AuditRecordSpec
) -> tuple[StatusDraft, tuple[AuditEntry, ...]]:
    """Served by an override: its phase says so at every step, and the quorum that comes in time is its review."""
    _, message, conditions = served(seen.release, frozen, seen.server, "overridden")
    warning = break_glass.warning(granted)
    approval = ConditionDraft("Approved", "False", ReleaseReason.OVERRIDE_IN_FORCE, warning)
    conditions = (*conditions, quorum_lost.lost(seen.overrides, granted))
    draft = replace(
        draft,
        phase="Overridden",
        message=f"{warning}. Now: {message}",
        conditions=(*draft.conditions, approval, *conditions),
    )
    reached = seen.verdict.outcome == "Quorum"
    return draft, (ledger_entries.approved(seen.release, frozen.digest, seen.verdict),) if reached else ()


def _waiting(
    seen: Observed, frozen: Frozen, draft: StatusDraft, glass: BreakGlassState
) -> tuple[StatusDraft, tuple[AuditEntry, ...]]:
    verdict, release = seen.verdict, seen.release
    reason = ReleaseReason.WAITING_FOR_LEDGER
    audit: tuple[AuditEntry, ...] = ()
    if verdict.outcome == "Quorum":
        message = "the quorum is reached; waiting for the ledger"
        audit = (ledger_entries.approved(release, frozen.digest, verdict),)
    elif glass.called_for:
        message = "overridden; waiting for the ledger"
        audit = (ledger_entries.override_granted(release, frozen.digest, verdict, seen.overrides),)
    else:
        reason, message = ReleaseReason.WAITING_FOR_APPROVALS, _asking(seen) + break_glass.note(glass)
    approval = ConditionDraft("Approved", "False", reason, message)
    unserved = ConditionDraft("Ready", "False", reason)
    return replace(draft, message=message, conditions=(*draft.conditions, approval, unserved)), audit


def _asking(seen: Observed) -> str:
    shown = break_glass.with_dropped(seen.verdict, seen.overrides)
    return approvals.asking(
        shown, f"tunegate approve release/{seen.release.name} -n {seen.release.namespace}", seen.unreadable
    )


def _tampered(seen: Observed) -> ConditionDraft:
    if seen.unguarded:
        message = (
            f"the {' and the '.join(seen.unguarded)} was made while the admission rules were not in force: who asked for it "
            "cannot be told"
        )
        return ConditionDraft("Tampered", "True", ReleaseReason.RULES_NOT_IN_FORCE, message)
    lost = ledger_entries.lost_records(seen.records, seen.approvals)
    if seen.changed:
        message = f"no longer what was stated: {', '.join(seen.changed)}"
        return ConditionDraft("Tampered", "True", ReleaseReason.DIGEST_MISMATCH, message)
    if lost:
        message = f"the ledger holds approvals that are gone or changed: {', '.join(lost[:5])}"
        return ConditionDraft("Tampered", "True", ReleaseReason.RECORD_MISSING, message)
    return ConditionDraft("Tampered", "False", ReleaseReason.INTACT)


def _later(draft: StatusDraft, seen: Observed, glass: BreakGlassState) -> float | None:
    if draft.phase == "PendingEvidence" or any(condition.status == "Unknown" for condition in draft.conditions):
        return WAIT
    if draft.phase in ("Denied", "Revoked"):
        return None
    counts = [approvals.seconds_to_expiry(one, glass.now) for one in (seen.verdict, seen.overrides)]
    unheld = UNHELD if draft.phase in MAY_SERVE and not held(seen.release, seen.server) else None
    return min((one for one in (*counts, glass.seconds_left, unheld) if one is not None), default=None)


def _event(draft: StatusDraft, before: ReleasePhase) -> EventNote:
    bad = draft.phase in ("Denied", "Revoked", "Failed", "Overridden")
    bad = bad or (before == "Overridden" and draft.phase == "PendingApproval")
    return EventNote("Warning" if bad else "Normal", draft.phase, draft.message)
