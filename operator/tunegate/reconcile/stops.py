"""What must end at once, from a release and the decisions on it alone. Pure; the clock comes in.

Neither ledger nor registry nor RBAC is asked, so that none of them can hold a stop back: the API server refused at
creation whoever may not stop. Release and server plan from the same function, so that a route closes without waiting for
the release's own controller. The count that follows asks all of them and may let a release answer again that a withdrawal
closed, where other approvals on record still make the quorum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalRole
from tunegate.api.conditions import from_rfc3339
from tunegate.api.modelrelease import MAY_SERVE, ModelRelease, ReleasePhase
from tunegate.api.reasons import ReleaseReason
from tunegate.reconcile.approvals import account
from tunegate.release.ballot import Account, Verdict, Vote
from tunegate.release.counting import persons

STOPPING = frozenset({"Reject", "Withdraw", "Revoke"})
"""Decisions that take something away."""
FINAL: tuple[ReleasePhase, ...] = ("Denied", "Revoked")


@dataclass(frozen=True)
class Stop:
    """A release that may not be served any more. ``approval`` is the decision that says so; None: its time is over."""

    phase: ReleasePhase
    reason: ReleaseReason
    message: str
    approval: Approval | None = None


def stop_of(
    release: ModelRelease, approvals: Iterable[Approval], roles: Sequence[ApprovalRole], now: datetime
) -> Stop | None:
    """Return why the release may not be served, None where nothing speaks against it.

    ``approvals`` hold at least the decisions of ``STOPPING``; ``roles`` are those of the policy in force, which say who may
    reject. A Withdraw stops what its author's counted approval, or override, lets be served.
    """
    decisions = sorted(
        (one for one in approvals if one.spec.subject_ref.uid == release.uid),
        key=lambda one: (str(one.metadata.get("creationTimestamp", "")), one.name),
    )
    revoke = next((one for one in decisions if one.spec.decision == "Revoke"), None)
    if revoke is not None:
        return Stop("Revoked", ReleaseReason.REVOKED, final_message(release, "Revoked", _author(revoke)), revoke)
    reject = next((one for one in decisions if one.spec.decision == "Reject" and _in_role(one, roles)), None)
    if reject is not None:
        return Stop("Denied", ReleaseReason.REJECTED, final_message(release, "Denied", _author(reject)), reject)
    if release.status.phase not in MAY_SERVE:
        return None
    return _withdrawn(release, decisions) or _over(release, now)


def final_message(release: ModelRelease, phase: ReleasePhase, by: str) -> str:
    """Say that the release ended for good, by whom, and what to do."""
    word = "revoked" if phase == "Revoked" else "rejected"
    return (
        f"{word} by {by}: this is final. The reason: tunegate describe release/{release.name} -n {release.namespace}. "
        "Serve another job with a new release"
    )


def with_stop(verdict: Verdict, stop: Stop | None, votes: Iterable[Vote]) -> Verdict:
    """Return the count with a final stop that the policy in force knows and the one of the statement does not."""
    if stop is None or stop.approval is None or stop.phase not in FINAL or verdict.outcome in ("Rejected", "Revoked"):
        return verdict
    stops = tuple(vote for vote in votes if vote.uid == stop.approval.uid)
    dropped = tuple(one for one in verdict.dropped if one.vote not in stops)
    return replace(verdict, outcome="Revoked" if stop.phase == "Revoked" else "Rejected", stops=stops, dropped=dropped)


def _withdrawn(release: ModelRelease, decisions: Sequence[Approval]) -> Stop | None:
    status = release.status
    overridden = status.phase == "Overridden"
    counted = status.override.counted if overridden and status.override else () if overridden else status.counted
    known = [Account(one.username, person_id=one.person_id or "") for one in counted]
    person = persons([*known, *(account(one.spec.approver) for one in decisions)])
    holders = {person[one] for one in known}
    for decision in decisions:
        if decision.spec.decision == "Withdraw" and person[account(decision.spec.approver)] in holders:
            what = "override" if overridden else "approval"
            message = f"{_author(decision)} withdrew their {what}: what it let be served is closed and counted again"
            reason = ReleaseReason.OVERRIDE_WITHDRAWN if overridden else ReleaseReason.APPROVALS_LOST
            return Stop("PendingApproval", reason, message, decision)
    return None


def _over(release: ModelRelease, now: datetime) -> Stop | None:
    """An override that has come to its end."""
    override = release.status.override
    if release.status.phase != "Overridden" or override is None or override.expiration_time is None:
        return None
    if now < from_rfc3339(override.expiration_time):
        return None
    message = f"the override ended at {override.expiration_time} without a quorum: its route is closed"
    return Stop("PendingApproval", ReleaseReason.OVERRIDE_EXPIRED, message)


def _in_role(approval: Approval, roles: Sequence[ApprovalRole]) -> bool:
    groups = set(approval.spec.approver.groups)
    return any(role.name == approval.spec.role and not groups.isdisjoint(role.groups) for role in roles)


def _author(approval: Approval) -> str:
    return approval.spec.approver.username
