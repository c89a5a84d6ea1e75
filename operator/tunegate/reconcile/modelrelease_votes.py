"""Approvals as votes: from the API's objects to what the counting function takes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicySpec
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.shared import Person
from tunegate.reconcile.modelrelease_entries import Frozen
from tunegate.release.counting import Account, Question, Vote


def names_release(approval: Approval, release: ModelRelease) -> bool:
    """Tell whether the approval names this release, by name: one that means an earlier uid is shown as dropped."""
    return approval.spec.subject_ref.name == release.name


def question(release: ModelRelease, frozen: Frozen | None, policy: ApprovalPolicySpec | None) -> Question:
    """Return what is asked. ``policy`` is the live one: it only tells who may reject before there is a statement."""
    rules = frozen.statement.policy.spec if frozen is not None else policy
    requesters = {account(release.spec.requested_by)}
    if frozen is not None:
        requesters.add(account(frozen.statement.job.requested_by))
    return Question(
        release_uid=release.uid,
        digest=frozen.digest if frozen is not None else None,
        requesters=frozenset(requesters),
        roles=tuple(rules.roles) if rules is not None else (),
        max_age=timedelta(seconds=rules.max_approval_age_seconds if rules is not None else 0),
    )


def votes(approvals: Iterable[Approval], authorized: frozenset[str]) -> list[Vote]:
    """Return the approvals as votes; ``authorized`` holds the uids of those that RBAC still backs."""
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
            created=moment(str(approval.metadata["creationTimestamp"])),
            expires=_expiry(approval.spec.expires_at),
            authorized=approval.uid in authorized,
        )
        for approval in approvals
    ]


def account(person: Person) -> Account:
    """Return the account that admission bound the person to."""
    return Account(person.username, person.uid or "")


def moment(text: str) -> datetime:
    """Return an RFC 3339 time of the API as an aware datetime in UTC. Raises ``ValueError``."""
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def _expiry(text: str) -> datetime:
    """A time that cannot be read, or lies beyond the calendar, counts as past: it must not stop the count of others."""
    try:
        return moment(text)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)
