"""Counting against a model that is written from the rules (docs/review.md) and tries every way to give persons roles.

The model knows nothing of matching, of the order of checks or of data structures of the code: it asks of each decision
which reasons not to count are true, and of each set of persons whether somebody can find them seats.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from tunegate.api.approvalpolicy import ApprovalRole, IdentityRule
from tunegate.reconcile.modelrelease_votes import overrides
from tunegate.release.counting import Account, Dropped, Question, Vote, count

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
SUBJECT, DIGEST, OTHER = "uid-1", "sha256:" + "a" * 64, "sha256:" + "b" * 64
ROLES = ("compliance", "legal", "risk")
GROUPS = ("group-1", "group-2", "group-3")
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
                "BadSignature": vote.signature_fault is not None,
                "IsRequester": bool(self.person(vote) & self.question.requesters),
                "NoPersonId": self.nameless(vote),
                "StaleSession": self.stale(vote),
                "Withdrawn": taken_back,
            }
        return {reason for reason, true in holds.items() if true}

    def nameless(self, vote: Vote) -> bool:
        rule = self.question.identity
        known = [bool(account.person_id) for account in (vote.account, *self.question.requesters)]
        return rule is not None and rule.require_person_id and not all(known)

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
        return Account(dice.choice(["amy", "bob", "cem", "dan", "eve"]), uid, human)

    def groups(least: int) -> list[str]:
        return dice.sample(GROUPS, dice.randint(least, 3))

    def after(low: int, high: int) -> datetime:
        return START + timedelta(seconds=dice.randint(low, high))

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
    age = timedelta(seconds=dice.randint(4, 14))
    question = Question(SUBJECT, mostly(DIGEST, None), requesters, tuple(roles), age, rule)
    return Election(question, tuple(votes), after(0, 9))


elections = st.integers(0, 2**48).map(make_election)


@thousand
@given(elections)
def test_outcome_is_what_trying_everything_says(election: Election) -> None:
    verdict = count(election.question, election.votes, election.now)

    assert verdict.outcome == election.outcome
    assert {vote.name for vote in verdict.stops} == election.stops.get(election.outcome, set())
    assert verdict.required == election.required


@thousand
@given(elections)
def test_seats_go_to_as_many_persons_as_possible_and_to_the_earliest_of_them(election: Election) -> None:
    verdict = count(election.question, election.votes, election.now)
    hats = [entry.role for entry in verdict.counted]

    assert {election.person(entry.vote) for entry in verdict.counted} == election.seated
    assert len(verdict.counted) == len(election.seated)
    assert all(entry.vote in election.sound and entry.role == entry.vote.role for entry in verdict.counted)
    assert election._fits(hats)
    assert {name: role.min_approvals - hats.count(name) for name, role in election.roles.items()} == {
        name: dict(verdict.missing).get(name, 0) for name in election.roles
    }
    assert all(slots > 0 for _, slots in verdict.missing)


@thousand
@given(elections)
def test_every_decision_that_does_not_count_is_told_with_a_reason_that_is_true(election: Election) -> None:
    verdict = count(election.question, election.votes, election.now)
    counted = {entry.vote.name: entry.role for entry in verdict.counted}
    dropped = {entry.vote.name: entry for entry in verdict.dropped}

    assert len(dropped) == len(verdict.dropped)
    for vote in election.votes:
        away = vote.subject_uid != SUBJECT
        if away or (vote.decision == "Reject" and election.reasons(vote)):
            assert dropped[vote.name].reason in election.reasons(vote)
        elif vote.decision == "Approve":
            assert (vote.name in counted) != (vote.name in dropped)
            assert vote.name in counted or _true(election, dropped[vote.name], counted)
        else:
            assert vote.name not in dropped


def _true(election: Election, entry: Dropped, counted: dict[str, str]) -> bool:
    """Tell whether a reason not to count an approval holds."""
    if entry.vote not in election.sound:
        return entry.reason in election.reasons(entry.vote)
    if election.person(entry.vote) in election.seated:
        return entry.reason == "SamePerson"
    full = list(counted.values()).count(entry.vote.role) == election.roles[entry.vote.role].min_approvals
    return entry.reason == "NotNeeded" and full


@thousand
@given(elections)
def test_the_next_count_is_due_when_the_first_counted_approval_ends(election: Election) -> None:
    verdict = count(election.question, election.votes, election.now)
    ends = [min(e.vote.expires, e.vote.created + election.question.max_age) for e in verdict.counted]

    assert verdict.next_expiry == min(ends, default=None)
    if verdict.next_expiry is not None:
        last = verdict.next_expiry - timedelta(microseconds=1)
        assert count(election.question, election.votes, last).counted == verdict.counted
        assert count(election.question, election.votes, verdict.next_expiry).counted != verdict.counted


@thousand
@given(elections, st.integers(1, 2))
def test_overrides_are_counted_for_themselves_and_fill_no_slot(election: Election, needed: int) -> None:
    """Every second approval is an override: enough people of the group with nothing against theirs break the glass."""
    here = replace(
        election, votes=tuple(_override(vote) if int(vote.name[1:]) % 2 else vote for vote in election.votes)
    )
    glass = ApprovalRole(name="break-glass", min_approvals=needed, groups=["group-1"])
    asked = replace(election.question, roles=(glass,))
    sound = {
        here.person(vote)
        for vote in here.here
        if vote.decision == "Override" and not replace(here, question=asked).reasons(replace(vote, decision="Approve"))
    }
    verdict = count(asked, overrides(here.votes), here.now)

    assert verdict.outcome == ("Quorum" if len(sound) >= needed and asked.digest is not None else "Waiting")
    assert {here.person(entry.vote) for entry in verdict.counted} <= sound
    assert len(verdict.counted) == min(len(sound), needed)
    ordinary = count(election.question, here.votes, here.now)
    assert all(entry.vote.decision == "Approve" for entry in ordinary.counted)
    assert ordinary.outcome == here.outcome


def _override(vote: Vote) -> Vote:
    return replace(vote, decision="Override", role="break-glass") if vote.decision == "Approve" else vote


@thousand
@given(elections)
def test_withdrawing_takes_back_all_approvals_of_the_person(election: Election) -> None:
    verdict = count(election.question, election.votes, election.now)
    authors = {election.person(vote) for vote in election.here if vote.decision == "Withdraw"}

    assert verdict.withdrawn == {
        vote.uid for vote in election.here if vote.decision == "Approve" and election.person(vote) in authors
    }


@thousand
@given(elections)
def test_decisions_on_another_object_change_nothing_but_their_own_line(election: Election) -> None:
    with_all = count(election.question, election.votes, election.now)
    alone = count(election.question, election.here, election.now)

    assert with_all.outcome == alone.outcome
    assert with_all.counted == alone.counted
    assert [entry for entry in with_all.dropped if entry.reason != "WrongSubject"] == list(alone.dropped)
