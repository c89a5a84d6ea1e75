"""What is asked, what was decided, and what came of it: the values that counting works on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tunegate.api.approval import DropReason
from tunegate.api.approvalpolicy import ApprovalRole, IdentityRule

Decision = Literal["Approve", "Reject", "Withdraw", "Revoke", "Override"]
Outcome = Literal["Waiting", "Quorum", "Rejected", "Revoked"]


@dataclass(frozen=True, order=True)
class Account:
    """A person as the API server knows them. Equal usernames, uids or person-ids mean the same person."""

    username: str
    uid: str = ""
    person_id: str = ""
    """What the identity provider says of the human behind the account; empty: nothing."""


@dataclass(frozen=True)
class Vote:
    """One decision, as its Approval states it. Times are aware datetimes."""

    name: str
    uid: str
    subject_uid: str
    digest: str
    role: str
    decision: Decision
    account: Account
    groups: frozenset[str]
    created: datetime
    expires: datetime
    authorized: bool = True
    """RBAC still grants the verb for the role; looked up again for every count of an Approve."""
    guarded: bool = True
    """The admission rules that bind a vote to its author were in force when it was made."""
    signature_fault: tuple[DropReason, str] | None = None
    """Why it is not signed as its role asks; looked up by whoever makes the vote."""
    signed_in: datetime | None = None
    """When the author last signed in, as the identity provider says; None: it does not say."""


@dataclass(frozen=True)
class Question:
    """What is asked: which content of which release, or which waiver of which job, and who may not answer."""

    subject_uid: str
    digest: str | None
    """None while it cannot be made: no approval can name it yet."""
    requesters: frozenset[Account]
    """Of the job, and of the release where there is one."""
    roles: tuple[ApprovalRole, ...]
    """Of the policy that holds for the subject; without any there is no quorum."""
    max_age: timedelta
    """Longest life of an approval, whatever it says itself."""
    identity: IdentityRule | None = None
    """What must be known of requesters and approvers beside their accounts."""
    contributors: frozenset[Account] = frozenset()
    """Who worked on the job, as it says itself. A name that nobody proves makes no two accounts one person."""


@dataclass(frozen=True)
class Counted:
    """A vote that fills a slot of ``role``."""

    vote: Vote
    role: str


@dataclass(frozen=True)
class Dropped:
    """A vote that does not count."""

    vote: Vote
    reason: DropReason
    message: str


@dataclass(frozen=True)
class Verdict:
    """The count. All tuples are in a fixed order that does not depend on the input's."""

    outcome: Outcome
    counted: tuple[Counted, ...]
    dropped: tuple[Dropped, ...]
    missing: tuple[tuple[str, int], ...]
    """Role and open slots, roles with none left out."""
    required: int
    stops: tuple[Vote, ...]
    """The Reject or Revoke votes that decide."""
    withdrawn: frozenset[str]
    """UIDs of Approve votes that their own author took back."""
    next_expiry: datetime | None
    """When the first counted vote expires. Until then the outcome and the persons who count stay the same; another vote of such a
    person, for another role, may take the place of the counted one before."""
