"""Counting on paper: a model that is written from the rules (docs/review.md) and tries every way to give persons roles.

It knows nothing of matching, of the order of checks or of data structures of the code: it asks of each decision which
reasons not to count are true, and of each set of persons whether somebody can find them seats.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from tunegate.api.approvalpolicy import ApprovalRole, IdentityRule
from tunegate.release.ballot import Account, Dropped, Question, Vote

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
SUBJECT, DIGEST, OTHER = "uid-1", "sha256:" + "a" * 64, "sha256:" + "b" * 64
ROLES = ("compliance", "legal", "risk")
GROUPS = ("group-1", "group-2", "group-3")
TOOL = "system:serviceaccount:argocd:controller"
TICK = timedelta(seconds=15)
"""Unit of the times that are drawn: no policy takes ages under a minute."""
IDENTITY_RULES = [
    IdentityRule(require_person_id=human, max_auth_age_seconds=age) for human in (True, False) for age in (60, None)
]
Person = frozenset[Account]
T = TypeVar("T")
thousand = settings(max_examples=1000, deadline=None)


@dataclass(frozen=True)
class Election:
    """A question, the decisions and the time, with what the rules say about them."""

    question: Question
    votes: tuple[Vote, ...]
    now: datetime

    @cached_property
    def here(self) -> tuple[Vote, ...]:
        return tuple(vote for vote in self.votes if vote.subject_uid == self.question.subject_uid)

    @cached_property
    def roles(self) -> dict[str, ApprovalRole]:
        return {role.name: role for role in self.question.roles}

    @cached_property
    def people(self) -> list[Person]:
        """Accounts that share a username, a uid or a person-id, directly or through others, are one person."""
        found: list[Person] = []
        for account in {*self.question.requesters, *(vote.account for vote in self.here)}:
            known = [person for person in found if any(_linked(account, other) for other in person)]
            found = [person for person in found if person not in known] + [frozenset({account}).union(*known)]
        return found

    def person(self, vote: Vote) -> Person:
        return next(person for person in self.people if vote.account in person)

    def reasons(self, vote: Vote) -> set[str]:
        """Return every reason for which an Approve or a Reject cannot count by itself."""
        if vote.subject_uid != self.question.subject_uid:
            return {"WrongSubject"}
        role = self.roles.get(vote.role)
        holds = {
            "UnknownRole": role is None,
            "NotInRoleGroup": role is not None and not set(role.groups) & set(vote.groups),
        }
        if vote.decision == "Approve":
            taken_back = any(v.decision == "Withdraw" and self.person(v) == self.person(vote) for v in self.here)
            holds |= {
                "WrongDigest": vote.digest != self.question.digest,
                "Expired": self.now >= vote.expires or self.now - vote.created >= self.question.max_age,
                "NotAuthorized": not vote.authorized,
                "RulesNotInForce": not vote.guarded,
                **({vote.signature_fault[0]: True} if vote.signature_fault else {}),
                "IsRequester": bool(self.person(vote) & self.question.requesters),
                "IsContributor": self.worked(vote),
                "NoPersonId": self.nameless(vote),
                "StaleSession": self.stale(vote),
                "Withdrawn": taken_back,
            }
        return {reason for reason, true in holds.items() if true}

    def worked(self, vote: Vote) -> bool:
        """Some account with which this person decided anything here is named, or belongs to a human who is."""
        accounts = [other.account for other in self.here if self.person(other) == self.person(vote)]
        return any(_linked(one, named) for one in accounts for named in self.question.contributors)

    def nameless(self, vote: Vote) -> bool:
        """No human has to be named behind a tool that asked: it costs more approvals instead."""
        rule = self.question.identity
        people = [vote.account, *(one for one in self.question.requesters if one.username != TOOL)]
        return rule is not None and rule.require_person_id and not all(one.person_id for one in people)

    def stale(self, vote: Vote) -> bool:
        """A sign-in must be known, not older than allowed, and by no more than five minutes later than the approval."""
        longest = self.question.identity.max_auth_age_seconds if self.question.identity else None
        if longest is None:
            return False
        earliest, latest = vote.created - timedelta(seconds=longest), vote.created + timedelta(minutes=5)
        return vote.signed_in is None or not earliest <= vote.signed_in <= latest

    @cached_property
    def sound(self) -> tuple[Vote, ...]:
        """Approvals with nothing against them, the oldest first."""
        sound = [vote for vote in self.here if vote.decision == "Approve" and not self.reasons(vote)]
        return tuple(sorted(sound, key=lambda vote: (vote.created, vote.name)))

    @cached_property
    def reviewers(self) -> list[Person]:
        """Persons with a sound approval, by their oldest one."""
        return list(dict.fromkeys(map(self.person, self.sound)))

    @cached_property
    def seated(self) -> set[Person]:
        """Try every way: as many persons as can be, and of those sets the one whose members approved first."""
        hats = [[None, *{v.role for v in self.sound if self.person(v) == one}] for one in self.reviewers]
        ways = [way for way in itertools.product(*hats) if self._fits(way)]
        sets = [tuple(number for number, hat in enumerate(way) if hat is not None) for way in ways]
        most = max(map(len, sets))
        return {self.reviewers[number] for number in min(one for one in sets if len(one) == most)}

    def explains(self, entry: Dropped, counted: Mapping[str, str]) -> bool:
        """Tell whether a reason not to count an approval holds; ``counted``: names of approvals and their roles."""
        if entry.vote.name not in {vote.name for vote in self.sound}:
            return entry.reason in self.reasons(entry.vote)
        if self.person(entry.vote) in self.seated:
            return entry.reason == "SamePerson"
        full = list(counted.values()).count(entry.vote.role) == self.roles[entry.vote.role].min_approvals
        return entry.reason == "NotNeeded" and full

    def _fits(self, way: Iterable[str | None]) -> bool:
        hats = list(way)
        return all(hats.count(name) <= role.min_approvals for name, role in self.roles.items())

    @property
    def required(self) -> int:
        return sum(role.min_approvals for role in self.question.roles)

    @property
    def stops(self) -> dict[str, set[str]]:
        """Names of the decisions that end it: what revokes, and what rejects."""
        rejects = {v.name for v in self.here if v.decision == "Reject" and not self.reasons(v)}
        return {"Revoked": {v.name for v in self.here if v.decision == "Revoke"}, "Rejected": rejects}

    @property
    def outcome(self) -> str:
        full = 0 < self.required == len(self.seated)
        stop = next((outcome for outcome, names in self.stops.items() if names), None)
        return stop or ("Quorum" if full else "Waiting")


def _linked(one: Account, other: Account) -> bool:
    pairs = ((one.username, other.username), (one.uid, other.uid), (one.person_id, other.person_id))
    return any(mine == theirs != "" for mine, theirs in pairs)


def make_election(seed: int) -> Election:
    """Draw an election. By an own generator, since hypothesis takes ten times as long to draw the hundred values."""
    dice = random.Random(seed)  # noqa: S311

    def mostly(usual: T, *others: T, share: float = 0.95) -> T:
        return usual if dice.random() < share else dice.choice(others)

    def account() -> Account:
        uid = mostly("", "1", "2", "3", share=0.6)
        human = mostly("", "E-1", "E-2", "E-3", "E-4", "E-5", share=0.1 if rule and rule.require_person_id else 0.7)
        return Account(mostly(dice.choice(["amy", "bob", "cem", "dan", "eve"]), TOOL), uid, human)

    def groups(least: int) -> list[str]:
        return dice.sample(GROUPS, dice.randint(least, 3))

    def after(low: int, high: int) -> datetime:
        return START + TICK * dice.randint(low, high)

    def signed_in(created: datetime) -> datetime | None:
        age = timedelta(seconds=mostly(30, 60, 61, -300, -301, share=0.8))
        return mostly(created - age, None)

    rule = mostly(None, *IDENTITY_RULES, share=0.5)
    stops = mostly((), ("Withdraw",), ("Withdraw", "Reject", "Revoke", "Override"), share=0.6)
    asked = dice.sample(ROLES, mostly(dice.randint(1, 3), 0))
    roles = [ApprovalRole(name=name, min_approvals=dice.randint(1, 2), groups=groups(1)) for name in asked]
    votes = [
        Vote(
            name=f"v{number}", uid=f"u{number}", subject_uid=mostly(SUBJECT, "uid-of-an-earlier-one"),
            digest=mostly(DIGEST, OTHER), role=mostly(dice.choice(asked or ROLES), "marketing"),
            decision=mostly("Approve", *stops, share=0.85) if stops else "Approve",  # type: ignore[arg-type]
            account=account(), groups=frozenset(groups(2)), created=(created := after(0, 5)), expires=after(4, 14),
            authorized=mostly(True, False), guarded=mostly(True, False), signed_in=signed_in(created),
            signature_fault=mostly(None, ("BadSignature", "another's key")),
        )
        for number in range(dice.randint(0, 8))
    ]  # fmt: skip
    requesters = frozenset(account() for _ in range(mostly(1, 0, 2, share=0.5)))
    named = [
        Account(name, person_id=mostly("", "E-1", "E-2", share=0.3))
        for name in dice.sample(["zoe", "amy"], mostly(0, 1, 2, share=0.7))
    ]
    age = TICK * dice.randint(4, 14)
    question = Question(SUBJECT, mostly(DIGEST, None), requesters, tuple(roles), age, rule, frozenset(named))
    return Election(question, tuple(votes), after(0, 9))


elections = st.integers(0, 2**48).map(make_election)
