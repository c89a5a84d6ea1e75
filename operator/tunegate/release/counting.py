"""Counting approvals: a pure function of sets. The order in which decisions arrived, or are listed, changes nothing.

Distinct persons are matched to role slots as a maximum bipartite matching, never greedily: with one slot each for risk
and compliance, a person who holds both roles must not block the only other risk reviewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from tunegate.api.approval import DropReason
from tunegate.api.approvalpolicy import ApprovalRole
from tunegate.release.ballot import Account, Counted, Dropped, Outcome, Question, Verdict, Vote
from tunegate.release.identity import identity_fault


def count(question: Question, votes: Iterable[Vote], now: datetime) -> Verdict:
    """Return the verdict at ``now``.

    Reject counts from anybody who holds a role of the policy, Revoke from anybody whom admission let revoke; neither
    expires nor needs the right digest, and one is enough: a stop must not be lost to a slip. A Withdraw takes back all
    approvals of its author, earlier or later. Requesters and contributors may stop but not approve. An Override fills no slot: it
    answers another question, which is counted for itself.
    """
    ordered = sorted(votes, key=lambda vote: (vote.created, vote.name, vote.uid))
    mine = [vote for vote in ordered if vote.subject_uid == question.subject_uid]
    person = persons([*(vote.account for vote in mine), *question.requesters])
    roles = {role.name: role for role in question.roles}
    withdrawers = {person[vote.account] for vote in mine if vote.decision == "Withdraw"}
    barred = {person[account] for account in question.requesters}
    names = {account.username for account in question.contributors}
    humans = {account.person_id for account in question.contributors} - {""}
    worked = {
        person[vote.account] for vote in mine if vote.account.username in names or vote.account.person_id in humans
    }

    dropped = [
        Dropped(vote, "WrongSubject", f"names another object of this name (uid {vote.subject_uid})")
        for vote in ordered
        if vote.subject_uid != question.subject_uid
    ]
    rejects, valid = [], []
    for vote in mine:
        fault: tuple[DropReason, str] | None = None
        if vote.decision == "Reject":
            fault = _role_fault(vote, roles)
            if fault is None:
                rejects.append(vote)
        elif vote.decision == "Approve":
            fault = _fault(vote, question, roles, now)
            if fault is None and person[vote.account] in barred:
                fault = ("IsRequester", "people who requested the job or its release cannot approve it")
            if fault is None and person[vote.account] in worked:
                fault = ("IsContributor", "people who worked on the job cannot approve what came of it")
            if fault is None and person[vote.account] in withdrawers:
                fault = ("Withdrawn", "its author took it back")
            if fault is None:
                valid.append(vote)
        if fault is not None:
            dropped.append(Dropped(vote, *fault))

    counted, surplus = _assign(valid, person, question.roles)
    filled = [entry.role for entry in counted]
    missing = tuple((r.name, r.min_approvals - filled.count(r.name)) for r in question.roles)
    missing = tuple((role, slots) for role, slots in missing if slots > 0)
    revokes = [vote for vote in mine if vote.decision == "Revoke"]
    complete = bool(question.roles) and question.digest is not None and not missing
    outcome: Outcome = "Revoked" if revokes else "Rejected" if rejects else "Quorum" if complete else "Waiting"
    return Verdict(
        outcome=outcome,
        counted=tuple(counted),
        dropped=tuple(sorted([*dropped, *surplus], key=lambda entry: (entry.vote.created, entry.vote.name))),
        missing=missing,
        required=sum(role.min_approvals for role in question.roles),
        stops=tuple(revokes or rejects),
        withdrawn=frozenset(
            vote.uid for vote in mine if vote.decision == "Approve" and person[vote.account] in withdrawers
        ),
        next_expiry=min((expiry(entry.vote, question.max_age) for entry in counted), default=None),
    )


def match(roles_of: Sequence[frozenset[str]], capacity: Mapping[str, int]) -> dict[int, str]:
    """Return a maximum assignment of persons (by index) to roles with ``capacity`` slots each.

    Kuhn's augmenting paths (H. W. Kuhn, 1955): a person once placed is moved, never dropped, so earlier persons keep
    a place and adding one never lowers the number of filled slots.
    """
    slots: dict[tuple[str, int], int] = {}

    def place(one: int, tried: set[tuple[str, int]]) -> bool:
        for role in sorted(roles_of[one]):
            for slot in ((role, number) for number in range(capacity.get(role, 0))):
                if slot in tried:
                    continue
                tried.add(slot)
                if slot not in slots or place(slots[slot], tried):
                    slots[slot] = one
                    return True
        return False

    for one in range(len(roles_of)):
        place(one, set())
    return {one: role for (role, _), one in slots.items()}


def _assign(
    valid: Sequence[Vote], person: Mapping[Account, Account], roles: Sequence[ApprovalRole]
) -> tuple[list[Counted], list[Dropped]]:
    """Match persons to slots; what is left over is a second vote of one person, or not needed."""
    order = list(dict.fromkeys(person[vote.account] for vote in valid))
    held = [frozenset(vote.role for vote in valid if person[vote.account] == one) for one in order]
    placed = {order[i]: role for i, role in match(held, {r.name: r.min_approvals for r in roles}).items()}
    counted: dict[Account, Counted] = {}
    surplus: list[Dropped] = []
    for vote in valid:
        one = person[vote.account]
        role = placed.get(one)
        if role is None:
            surplus.append(Dropped(vote, "NotNeeded", f"all slots of role {vote.role} are filled by others"))
        elif role == vote.role and one not in counted:
            counted[one] = Counted(vote, role)
        else:
            human = f" (person {vote.account.person_id})" if vote.account.person_id else ""
            surplus.append(Dropped(vote, "SamePerson", f"{vote.account.username}{human} counts once, for role {role}"))
    return list(counted.values()), surplus


def persons(accounts: Iterable[Account]) -> dict[Account, Account]:
    """Map each account to one that stands for its person: accounts linked by username, uid or person-id are one person."""
    everyone = sorted(set(accounts))
    leader = {account: account for account in everyone}
    known_by: dict[tuple[int, str], Account] = {}
    for account in everyone:
        marks = enumerate((account.username, account.uid, account.person_id))
        known = {known_by.setdefault(mark, account) for mark in marks if mark[1]}
        merged = {leader[other] for other in known} | {leader[account]}
        first = min(merged)
        leader = {other: first if lead in merged else lead for other, lead in leader.items()}
    return leader


def _role_fault(vote: Vote, roles: Mapping[str, ApprovalRole]) -> tuple[DropReason, str] | None:
    if vote.role not in roles:
        return "UnknownRole", f"the policy asks for no role {vote.role} here: {', '.join(sorted(roles)) or 'none'}"
    if vote.groups.isdisjoint(roles[vote.role].groups):
        return "NotInRoleGroup", f"role {vote.role} needs one of the groups {', '.join(roles[vote.role].groups)}"
    return None


def _fault(
    vote: Vote, question: Question, roles: Mapping[str, ApprovalRole], now: datetime
) -> tuple[DropReason, str] | None:
    """Return why an Approve is void by itself, whatever others did."""
    if not vote.guarded:
        return (
            "RulesNotInForce",
            "made while the admission rules were not in force: whose it is cannot be told. Approve again",
        )
    if question.digest is None or vote.digest != question.digest:
        return (
            "WrongDigest",
            f"names {vote.digest[:19]}…, the present digest is {(question.digest or 'not known yet')[:19]}",
        )
    fault = _role_fault(vote, roles)
    if fault is not None:
        return fault
    if vote.signature_fault is not None:
        return vote.signature_fault
    if not vote.authorized:
        return "NotAuthorized", f"RBAC does not let {vote.account.username} approve for role {vote.role} (any more)"
    fault = identity_fault(question.identity, vote, question.requesters)
    if fault is not None:
        return fault
    end = expiry(vote, question.max_age)
    if now >= end:
        return "Expired", f"held until {end.isoformat()}"
    return None


def expiry(vote: Vote, max_age: timedelta) -> datetime:
    """Return when the vote stops counting: what it says itself, but never later than the policy allows."""
    return min(vote.expires, vote.created + max_age)
