"""Planner of ModelRelease: from evidence over approvals to serving. Pure; the clock comes in.

The ledger is read, not remembered: a release is requested, approved, denied or revoked when its record exists. So every
step up first appends its record and is taken in the next pass, while a step down is taken at once and recorded after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.modelrelease import ModelRelease, ReleasePhase
from tunegate.api.modelserver import ModelServer
from tunegate.api.reasons import ReleaseReason
from tunegate.reconcile import approvals
from tunegate.reconcile import modelrelease_entries as entries
from tunegate.reconcile.modelrelease_entries import Frozen
from tunegate.reconcile.modelrelease_sealing import Signatures, seal
from tunegate.reconcile.modelrelease_status import Fact, Story, status_of
from tunegate.reconcile.plan import AuditEntry, EventNote, Plan
from tunegate.release.counting import Verdict
from tunegate.release.evidence import Shortfall

ACTIVE: tuple[ReleasePhase, ...] = ("Approved", "RollingOut", "Serving")
"""Phases in which a server may hold the adapter."""
WAIT = 15.0
"""Seconds between looks at evidence that is not there yet."""
SOON = 0.1


@dataclass(frozen=True)
class Observed:
    """The world as one reconcile read it."""

    release: ModelRelease
    approvals: tuple[Approval, ...]
    """That name this release (by name; some may mean an earlier one)."""
    verdict: Verdict
    """The count under the frozen policy, or under no policy while there is none."""
    records: tuple[AuditRecordSpec, ...]
    """The ledger's records about this release, oldest first."""
    frozen: Frozen | None = None
    shortfall: Shortfall | None = None
    """Why there is no statement, or why it cannot be read."""
    changed: tuple[str, ...] = ()
    """Parts of the statement that live objects contradict."""
    unguarded: tuple[str, ...] = ()
    """What was made while the admission rules were not in force: the job, the release."""
    server: ModelServer | None = None
    signatures: Signatures | Shortfall | None = None
    """What was signed and waits for its record, or why nothing could be; see ``modelrelease_sealing.seal``."""


def plan(seen: Observed, now: datetime) -> Plan:
    """Return the next step of the release."""
    story, audit = _conclude(seen)
    recorded = approvals.recorded(entries.subject_of(seen.release), seen.approvals)
    known = {record.event_id for record in seen.records}
    pending = tuple(entry for entry in (*recorded, *audit) if entry.event_id not in known)
    phase = seen.release.status.phase
    stops_now = story.phase not in ACTIVE and (phase in ACTIVE or story.phase in ("Denied", "Revoked"))
    if stops_now and phase != story.phase:
        held, pending = pending, ()
        requeue: float | None = SOON if held else None
    else:
        requeue = SOON if pending else _later(story, seen, now)
    ever = entries.last(seen.records, "ReleaseApproved")
    if ever is not None:
        story = replace(story, approved_time=story.approved_time or ever.time)
    events = () if phase == story.phase else (_event(story),)
    return Plan(
        audit=pending,
        status=status_of(seen.release, story, now),
        events=events,
        requeue_after=requeue,
        uid=seen.release.uid,
    )


def _conclude(seen: Observed) -> tuple[Story, tuple[AuditEntry, ...]]:
    """Return what is the case, and the entries that it calls for beside the decisions themselves."""
    stop = _stop(seen)
    if stop is not None:
        return stop
    if entries.last(seen.records, "ReleaseRequested") is None:
        if seen.frozen is None:
            return _without_statement(seen), ()
        story = Story(
            phase="PendingEvidence",
            message="the statement is stored; waiting for the ledger",
            facts=(
                Fact("EvidenceComplete", "False", ReleaseReason.WAITING_FOR_LEDGER, "the request is being recorded"),
            ),
            frozen=seen.frozen,
            server=seen.frozen.statement.engine.server,
            show_digest=False,
        )
        return story, (entries.requested(seen.release, seen.frozen),)
    if seen.frozen is None:
        return _unreadable(seen), ()
    sealing = seal(seen.release, seen.frozen, seen.records, seen.signatures)
    if sealing.story is not None:
        return sealing.story, sealing.audit
    story, audit = _judge(seen, seen.frozen)
    return story, (*sealing.audit, *audit)


def _stop(seen: Observed) -> tuple[Story, tuple[AuditEntry, ...]] | None:
    """Denied or Revoked, by a decision that is there now or by one that the ledger remembers."""
    record = entries.last(seen.records, "ReleaseRevoked") or entries.last(seen.records, "ReleaseDenied")
    verdict = seen.verdict
    if record is None and verdict.outcome not in ("Rejected", "Revoked"):
        return None
    revoked = verdict.outcome == "Revoked" or (record is not None and record.type == "ReleaseRevoked")
    reason = ReleaseReason.REVOKED if revoked else ReleaseReason.REJECTED
    audit: tuple[AuditEntry, ...] = ()
    if verdict.stops:
        by = verdict.stops[0].account.username
        audit = (entries.stopped(seen.release, "ReleaseRevoked" if revoked else "ReleaseDenied", verdict.stops[0]),)
    else:
        by = record.actor if record is not None else ""
    word = "revoked" if revoked else "rejected"
    message = f"{word} by {by}: this is final. Read the Approval for the reason; serve another job with a new release"
    facts = [
        Fact("Approved", "False", reason, message),
        Fact("Served", "False", reason, f"{word}: its route is closed"),
        _tampered(seen),
    ]
    if seen.frozen is not None:
        facts.insert(0, Fact("EvidenceComplete", "True", ReleaseReason.EVIDENCE_SEALED))
    story = Story(
        phase="Revoked" if revoked else "Denied", message=message, facts=tuple(facts), verdict=verdict,
        frozen=seen.frozen,
    )  # fmt: skip
    return story, audit


def _without_statement(seen: Observed) -> Story:
    short = seen.shortfall or Shortfall(ReleaseReason.WAITING_FOR_JOB, "waiting for the job's evidence")
    return Story(
        phase="Failed" if short.final else "PendingEvidence",
        message=short.message,
        facts=(Fact("EvidenceComplete", "False", short.reason, short.message),),
    )


def _unreadable(seen: Observed) -> Story:
    """The statement was made but cannot be read: nothing new is approved, what runs stays."""
    short = seen.shortfall or Shortfall(ReleaseReason.WAITING_FOR_REGISTRY, "the release statement cannot be read")
    status = seen.release.status
    lost = short.reason is ReleaseReason.DIGEST_MISMATCH
    phase: ReleasePhase = status.phase
    if lost and (status.phase not in ACTIVE or not _held(seen)):
        phase = "Failed"
    kept = tuple(
        Fact(condition.type, condition.status, ReleaseReason(condition.reason), condition.message)
        for condition in status.conditions
        if condition.type in ("Approved", "Served", "Superseded", "Expired")
    )
    facts = (Fact("EvidenceComplete", "False" if lost else "Unknown", short.reason, short.message), *kept)
    tampered = Fact("Tampered", "True" if lost else "Unknown", short.reason, short.message)
    return Story(phase, short.message, (*facts, tampered), approved_time=status.approved_time)


def _judge(seen: Observed, frozen: Frozen) -> tuple[Story, tuple[AuditEntry, ...]]:
    """The statement stands: is it still true, is it approved, is it served?"""
    verdict, release = seen.verdict, seen.release
    story = Story("PendingApproval", "", verdict=verdict, frozen=frozen, server=frozen.statement.engine.server)
    complete = Fact("EvidenceComplete", "True", ReleaseReason.EVIDENCE_SEALED)
    tampered = _tampered(seen)
    record = entries.standing_approval(seen.records, verdict.withdrawn)
    if tampered.status == "True" and (record is None or not _held(seen)):
        message = f"{tampered.message}. Nothing is rolled out; find out who changed it, then create a new release"
        approved = Fact("Approved", "False", tampered.reason, tampered.message)
        return replace(story, phase="Failed", message=message, facts=(complete, approved, tampered)), ()
    if record is not None:
        expired = _expired(seen, record)
        phase, message, served = _served(seen, frozen)
        approval = Fact("Approved", "True", ReleaseReason.QUORUM_REACHED, record.payload["approvers"])
        facts = (complete, approval, *served, expired, tampered)
        if tampered.status == "True":
            message = f"{tampered.message}. What runs keeps running, nothing new is rolled out. {message}"
        story = replace(story, phase=phase, message=message, facts=facts, approved_time=record.time)
        return story, _renewed(seen, frozen, record)
    unserved = Fact("Served", "False", ReleaseReason.WAITING_FOR_APPROVALS)
    if verdict.outcome == "Quorum":
        waiting = Fact(
            "Approved", "False", ReleaseReason.WAITING_FOR_LEDGER, "the quorum is reached and being recorded"
        )
        facts = (complete, waiting, unserved, tampered)
        story = replace(story, message="the quorum is reached; waiting for the ledger", facts=facts)
        return story, (entries.approved(release, frozen.digest, verdict),)
    message = _asking(release, verdict)
    waiting = Fact("Approved", "False", ReleaseReason.WAITING_FOR_APPROVALS, message)
    return replace(story, message=message, facts=(complete, waiting, unserved, tampered)), ()


def _renewed(seen: Observed, frozen: Frozen, record: AuditRecordSpec) -> tuple[AuditEntry, ...]:
    """Approvals of which some expired or lost their right may be replaced by others: that is recorded as well."""
    counted = {entry.vote.uid for entry in seen.verdict.counted}
    if seen.verdict.outcome != "Quorum" or counted.issuperset(record.payload["approvals"].split(",")):
        return ()
    return (entries.approved(seen.release, frozen.digest, seen.verdict),)


def _asking(release: ModelRelease, verdict: Verdict) -> str:
    return approvals.asking(verdict, f"tunegate approve {release.name} -n {release.namespace}")


def _held(seen: Observed) -> bool:
    """Tell whether the server holds the adapter now."""
    return seen.server is not None and any(
        entry.release == seen.release.name and entry.state in ("Loading", "Ready")
        for entry in seen.server.status.adapters
    )


def _served(seen: Observed, frozen: Frozen) -> tuple[ReleasePhase, str, tuple[Fact, ...]]:
    """Read from the server's status how far serving is."""
    statement = frozen.statement
    name, served_name, model = statement.engine.server, statement.served_name, seen.release.spec.model_name
    if seen.server is None:
        message = f"approved; ModelServer {name} does not exist (any more): create it with the evaluated profile"
        return "Approved", message, (Fact("Served", "False", ReleaseReason.WAITING_FOR_CATALOGUE, message),)
    status = seen.server.status
    entry = next((one for one in status.adapters if one.served_name == served_name), None)
    if entry is None:
        message = f"approved; ModelServer {name} takes it up next"
        return "Approved", message, (Fact("Served", "False", ReleaseReason.ROLLING_OUT, message),)
    if entry.state == "LeftOut":
        message = f"approved, but ModelServer {name} leaves it out: {entry.reason}"
        return "Approved", message, (Fact("Served", "False", ReleaseReason.LEFT_OUT, message),)
    if entry.state == "Loading":
        message = f"ModelServer {name} is loading {served_name}"
        return "RollingOut", message, (Fact("Served", "False", ReleaseReason.ROLLING_OUT, message),)
    open_ = [route for route in status.routes if route.state == "Open"]
    own = [route.name for route in open_ if route.served_name == served_name]
    if own:
        message = f"answers as {', '.join(own)} on ModelServer {name}"
        return "Serving", message, (Fact("Served", "True", ReleaseReason.ROUTE_OPEN, message),)
    other = next((route.served_name for route in open_ if route.name == model), None)
    if other is not None:
        message = f"loaded; route {model} of ModelServer {name} answers with {other}"
        served = Fact("Served", "False", ReleaseReason.NEWER_RELEASE, message)
        return "Approved", message, (served, Fact("Superseded", "True", ReleaseReason.NEWER_RELEASE, message))
    message = f"loaded, but ModelServer {name} has no open route {model}: add one to spec.routes"
    return "Approved", message, (Fact("Served", "False", ReleaseReason.NO_ROUTE, message),)


def _tampered(seen: Observed) -> Fact:
    if seen.unguarded:
        message = (
            f"the {' and the '.join(seen.unguarded)} was made while the admission rules were not in force: who asked for it "
            "cannot be told"
        )
        return Fact("Tampered", "True", ReleaseReason.RULES_NOT_IN_FORCE, message)
    lost = entries.lost_records(seen.records, seen.approvals)
    if seen.changed:
        message = f"no longer what was stated: {', '.join(seen.changed)}"
        return Fact("Tampered", "True", ReleaseReason.DIGEST_MISMATCH, message)
    if lost:
        message = f"the ledger holds approvals that are gone or changed: {', '.join(lost[:5])}"
        return Fact("Tampered", "True", ReleaseReason.RECORD_MISSING, message)
    return Fact("Tampered", "False", ReleaseReason.INTACT)


def _expired(seen: Observed, record: AuditRecordSpec) -> Fact:
    used = set(record.payload["approvals"].split(","))
    names = [entry.vote.name for entry in seen.verdict.dropped if entry.reason == "Expired" and entry.vote.uid in used]
    if seen.verdict.outcome == "Waiting" and names:
        message = f"expired: {', '.join(names)}. What runs keeps running; a new rollout needs new approvals"
        return Fact("Expired", "True", ReleaseReason.APPROVAL_EXPIRED, message)
    return Fact("Expired", "False", ReleaseReason.APPROVALS_IN_FORCE)


def _later(story: Story, seen: Observed, now: datetime) -> float | None:
    if story.phase == "PendingEvidence" or any(fact.status == "Unknown" for fact in story.facts):
        return WAIT
    return None if story.phase in ("Denied", "Revoked") else approvals.seconds_to_expiry(seen.verdict, now)


def _event(story: Story) -> EventNote:
    bad = story.phase in ("Denied", "Revoked", "Failed")
    return EventNote("Warning" if bad else "Normal", story.phase, story.message)
