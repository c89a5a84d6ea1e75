"""What releases and waivers share about approvals: objects become votes, a count becomes status, ledger and words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tunegate.admission.rules import Window, unguarded
from tunegate.api.approval import Approval, CountedApproval, DroppedApproval, MissingApproval
from tunegate.api.approvalpolicy import ApprovalRole
from tunegate.api.conditions import from_rfc3339, rfc3339
from tunegate.api.markers import TEXT_CHARACTERS, Resource
from tunegate.api.shared import Contributor, Person
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.release.ballot import Account, Verdict, Vote
from tunegate.release.content import recorded_of
from tunegate.release.signature import signature_fault

SHOWN = 100
"""Most dropped approvals that a status lists."""
NAMED = 5
"""Most dropped approvals that a message names."""
LIMIT = 2048
"""Longest value of a payload."""


def names(approval: Approval, subject: Resource) -> bool:
    """Tell whether the approval names this object, by kind and name: one that means an earlier uid is shown as dropped.

    A job and a release may have one name: what was decided on one must never count for the other.
    """
    reference = approval.spec.subject_ref
    return reference.kind == subject.kind and reference.name == subject.name


def votes(
    approvals: Iterable[Approval],
    roles: Sequence[ApprovalRole],
    authorized: frozenset[str],
    windows: Sequence[Window],
) -> list[Vote]:
    """Return the approvals as votes.

    ``roles`` are those that are asked, and say whose signatures they need; ``authorized`` holds the uids of those that
    RBAC still backs, ``windows`` the times without admission rules.
    """
    return [
        Vote(
            name=approval.name,
            uid=approval.uid,
            subject_uid=approval.spec.subject_ref.uid,
            digest=approval.spec.subject_digest,
            role=approval.spec.role,
            decision=approval.spec.decision,
            account=account(approval.spec.approver),
            groups=frozenset(approval.spec.approver.groups),
            created=created(approval),
            expires=_expiry(approval.spec.expiration_time),
            authorized=approval.uid in authorized,
            guarded=not unguarded(created(approval), windows),
            signature_fault=signature_fault(approval, roles),
            signed_in=_signed_in(approval.spec.approver),
        )
        for approval in approvals
    ]


def complete(verdict: Verdict, unreadable: Sequence[str]) -> Verdict:
    """Return the count; while some approvals of the object cannot be read there is no quorum: one may take another back."""
    return replace(verdict, outcome="Waiting") if unreadable and verdict.outcome == "Quorum" else verdict


def unread(names: Sequence[str]) -> str:
    """Say which approvals cannot be read, and what to do."""
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return (
        f"approvals cannot be read by this version of the operator, so nothing counts as a quorum: {shown}. "
        "Upgrade the operator to the version that wrote them"
    )


def created(obj: Resource) -> datetime:
    """Return when the API server let the object be created. Raises ``ValueError``."""
    return from_rfc3339(str(obj.metadata["creationTimestamp"]))


def account(person: Person) -> Account:
    """Return the account that admission bound the person to."""
    return Account(person.username, person.uid or "", person.person_id or "")


def contributors(people: Iterable[Contributor]) -> frozenset[Account]:
    """Return whom a job names as having worked on it."""
    return frozenset(Account(one.username, person_id=one.person_id or "") for one in people)


def human(person: Person) -> dict[str, str]:
    """Return what the identity provider said of the person, for the ledger; empty: nothing."""
    said = {"personId": person.person_id, "authTime": person.auth_time}
    return {name: value for name, value in said.items() if value}


def recorded(subject: AuditSubject, approvals: Iterable[Approval]) -> list[AuditEntry]:
    """Return an entry for each decision on the subject, whatever it is worth, oldest first. Once per Approval."""
    return [
        AuditEntry(
            type="ApprovalRecorded",
            actor=approval.spec.approver.username,
            subject=subject,
            key=approval.uid,
            payload={
                **recorded_of(approval),
                "decision": approval.spec.decision,
                "role": approval.spec.role,
                "subjectDigest": approval.spec.subject_digest,
                "expirationTime": approval.spec.expiration_time,
                **human(approval.spec.approver),
            },
        )
        for approval in sorted(approvals, key=lambda one: (str(one.metadata["creationTimestamp"]), one.name))
        if approval.spec.subject_ref.uid == subject.uid
    ]


def counted_payload(verdict: Verdict) -> dict[str, str]:
    """Return whose approvals were counted, for the ledger."""
    people = ", ".join(f"{entry.vote.account.username} ({entry.role})" for entry in verdict.counted)
    return {"approvals": ",".join(sorted(entry.vote.uid for entry in verdict.counted)), "approvers": people[:LIMIT]}


def stop_payload(vote: Vote) -> dict[str, str]:
    """Return the decision that stopped the subject, for the ledger."""
    return {"approval": vote.uid, "name": vote.name, "role": vote.role}


def tally(verdict: Verdict) -> dict[str, Any]:
    """Return the fields of a ``Tally``."""
    return {
        "approvals": f"{len(verdict.counted)}/{verdict.required}",
        "counted": [
            CountedApproval(
                name=entry.vote.name,
                username=entry.vote.account.username,
                person_id=entry.vote.account.person_id or None,
                role=entry.role,
                time=rfc3339(entry.vote.created),
            )
            for entry in verdict.counted
        ],
        "dropped": [
            DroppedApproval(
                name=entry.vote.name,
                username=entry.vote.account.username,
                person_id=entry.vote.account.person_id or None,
                reason=entry.reason,
                message=entry.message[:TEXT_CHARACTERS],
            )
            for entry in verdict.dropped[:SHOWN]
        ],
        "missing": [MissingApproval(role=role, missing=slots) for role, slots in verdict.missing],
    }


def asking(verdict: Verdict, command: str, unreadable: Sequence[str] = ()) -> str:
    """Say whose approvals are missing, what a reviewer runs, and what was not counted; or which cannot be read."""
    if unreadable:
        return unread(unreadable)
    missing = ", ".join(f"{slots} of role {role}" for role, slots in verdict.missing)
    text = f"waiting for approvals: {missing}. A reviewer runs: {command}"
    if verdict.dropped:
        named = ", ".join(f"{one.vote.name} ({one.reason})" for one in verdict.dropped[:NAMED])
        text += f". Not counted: {named}"
    return text


def seconds_to_expiry(verdict: Verdict, now: datetime) -> float | None:
    """Return after how long the first approval that counts at ``now`` has expired; None when none will."""
    if verdict.next_expiry is None:
        return None
    return (verdict.next_expiry - now) / timedelta(seconds=1) + 1.0


def _signed_in(person: Person) -> datetime | None:
    """A time that cannot be read says nothing."""
    try:
        return from_rfc3339(person.auth_time) if person.auth_time else None
    except (ValueError, OverflowError):
        return None


def _expiry(text: str) -> datetime:
    """A time that cannot be read, or lies beyond the calendar, counts as past: it must not stop the count of others."""
    try:
        return from_rfc3339(text)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)
