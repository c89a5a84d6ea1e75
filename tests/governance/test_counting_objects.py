"""From objects to the count: what the cluster keeps is read as what people meant, and counted as the model says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.support.election import Election, thousand
from tests.support.election_objects import Written, write_election
from tunegate.reconcile.approvals import names, votes
from tunegate.reconcile.modelrelease.questions import override_question, overrides, question
from tunegate.release.ballot import Verdict
from tunegate.release.counting import count

written = st.integers(0, 2**48).map(write_election)


@thousand
@given(written)
def test_objects_are_counted_as_what_people_meant(made: Written) -> None:
    """A decision on a job of the release's name is none on the release."""
    here = [one for one in made.approvals if names(one, made.release)]
    asked, override = question(made.release, made.frozen, made.live), override_question(made.release, made.frozen)
    approving = votes(here, asked.roles, made.authorized, made.windows)
    overriding = votes(here, override.roles, made.authorized, made.windows)

    check(made.approving, count(asked, approving, made.approving.now))
    check(made.overriding, count(override, overrides(overriding), made.overriding.now))


def check(meant: Election, verdict: Verdict) -> None:
    """Outcome, seats, and a true reason for each approval that fills none."""
    counted = {entry.vote.name: entry.role for entry in verdict.counted}
    approvals = {vote.name: vote for vote in meant.votes}

    assert verdict.outcome == meant.outcome
    assert verdict.required == meant.required
    assert {meant.person(entry.vote) for entry in verdict.counted} == meant.seated
    for entry in verdict.dropped:
        assert meant.explains(replace(entry, vote=approvals[entry.vote.name]), counted)
