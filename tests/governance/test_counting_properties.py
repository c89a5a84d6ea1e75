"""Counting against the model in ``tests.support.election``, which tries everything."""

from __future__ import annotations

import random
from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.election import (
    DIGEST,
    GROUPS,
    ROLES,
    START,
    SUBJECT,
    TICK,
    Election,
    elections,
    make_election,
    thousand,
)
from tunegate.release.ballot import Account, Decision, Vote
from tunegate.release.counting import count


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
            assert vote.name in counted or election.explains(dropped[vote.name], counted)
        else:
            assert vote.name not in dropped


@thousand
@given(elections)
@example(
    make_election(775_500_808_198)
)  # Another vote of a person who counts ends before, and with it their choice of roles.
def test_the_next_count_is_due_when_the_first_counted_approval_ends(election: Election) -> None:
    verdict = count(election.question, election.votes, election.now)
    ends = [min(e.vote.expires, e.vote.created + election.question.max_age) for e in verdict.counted]

    assert verdict.next_expiry == min(ends, default=None)
    if verdict.next_expiry is not None:
        last = count(election.question, election.votes, verdict.next_expiry - timedelta(microseconds=1))
        assert last.outcome == verdict.outcome
        assert {election.person(e.vote) for e in last.counted} == {election.person(e.vote) for e in verdict.counted}
        assert count(election.question, election.votes, verdict.next_expiry).counted != verdict.counted


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


@given(elections, st.randoms(use_true_random=False))
def test_order_changes_nothing(election: Election, dice: random.Random) -> None:
    shuffled = list(election.votes)
    dice.shuffle(shuffled)
    assert count(election.question, shuffled, election.now) == count(election.question, election.votes, election.now)


@given(elections, st.sampled_from(ROLES), st.randoms(use_true_random=False))
def test_one_more_approval_never_takes_anything_away(election: Election, role: str, dice: random.Random) -> None:
    before = count(election.question, election.votes, election.now)
    after = count(election.question, [*election.votes, _one_more(election, role, "Approve", dice)], election.now)
    assert len(after.counted) >= len(before.counted)
    assert before.outcome != "Quorum" or after.outcome == "Quorum"


@given(elections, st.sampled_from(["Withdraw", "Reject", "Revoke"]), st.randoms(use_true_random=False))
def test_one_more_stop_never_helps(election: Election, decision: Decision, dice: random.Random) -> None:
    before = count(election.question, election.votes, election.now)
    after = count(election.question, [*election.votes, _one_more(election, "risk", decision, dice)], election.now)
    assert after.outcome != "Quorum" or before.outcome == "Quorum"


@given(elections, st.integers(0, 300))
def test_time_alone_never_makes_a_quorum(election: Election, seconds: int) -> None:
    later = count(election.question, election.votes, election.now + timedelta(seconds=seconds))
    now = count(election.question, election.votes, election.now)
    assert later.outcome != "Quorum" or now.outcome == "Quorum"


def _one_more(election: Election, role: str, decision: Decision, dice: random.Random) -> Vote:
    """Return a decision of somebody who decided already, or of somebody new; it shows no two accounts to be one person."""
    people = [vote.account for vote in election.here] + [Account("gus", person_id="E-gus")]
    return Vote(
        name="more", uid="more", subject_uid=SUBJECT, digest=DIGEST, role=role, decision=decision,
        account=dice.choice(people), groups=frozenset(GROUPS), created=START, expires=START + TICK * 99, signed_in=START,
    )  # fmt: skip
