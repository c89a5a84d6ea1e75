"""What a policy wants to know of people beyond their accounts: which human it is, and how lately they signed in.

Accounts are what the API server proves; that two accounts are one human, only the cluster's identity provider knows. It
says so in `userInfo.extra`, to which admission holds what an object claims.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from tunegate.api.approval import DropReason
from tunegate.api.approvalpolicy import IdentityRule
from tunegate.api.shared import Requester
from tunegate.release.ballot import Account, Vote

PROGRAM = "system:"
"""How names of programs begin, and none of a person: what they ask for needs more approvals, as the policy says."""
SKEW = timedelta(minutes=5)
"""How far the identity provider's clock may run ahead of the API server's. A later time would make any session fresh."""


def identity_fault(
    rule: IdentityRule | None, approval: Vote, requesters: Iterable[Account]
) -> tuple[DropReason, str] | None:
    """Return why too little is known of who approved, or of who asked, to count the approval; None: enough is."""
    if rule is None:
        return None
    who = approval.account.username
    if rule.require_person_id:
        if not approval.account.person_id:
            return (
                "NoPersonId",
                f"the policy asks which human {who} is, and no person-id says so. Sign in through the identity provider "
                "and approve again",
            )
        unknown = sorted(one.username for one in requesters if not (one.person_id or one.username.startswith(PROGRAM)))
        if unknown:
            return (
                "NoPersonId",
                f"{who} may be {unknown[0]}, who requested this: the policy asks which human that is, and no person-id says "
                "so. It has to be requested again, signed in through the identity provider",
            )
    if rule.max_auth_age_seconds is not None:
        return _stale(approval, timedelta(seconds=rule.max_auth_age_seconds))
    return None


def unknown_requester(rule: IdentityRule | None, policy: str, requester: Requester) -> str | None:
    """Return why nobody could ever approve what this person asks for; None: approvals can count."""
    if rule is None or not rule.require_person_id or requester.person_id or requester.unverified:
        return None
    return (
        f"ApprovalPolicy {policy} asks which human {requester.username} is, and spec.requestedBy has no personId. Sign in "
        "through the identity provider"
    )


def _stale(approval: Vote, longest: timedelta) -> tuple[DropReason, str] | None:
    again = "Sign in again and approve again"
    asks = f"the policy asks for a sign-in of the last {longest} before approving"
    if approval.signed_in is None:
        return "StaleSession", f"{asks}, and no auth-time says when it was. {again}"
    age = approval.created - approval.signed_in
    if age < -SKEW:
        return (
            "StaleSession",
            f"{asks}, and the auth-time {approval.signed_in.isoformat()} lies after the approval. {again}",
        )
    if age > longest:
        return "StaleSession", f"{asks}, and it was at {approval.signed_in.isoformat()}. {again}"
    return None
