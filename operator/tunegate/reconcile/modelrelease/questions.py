"""What a release asks its reviewers, and whether it is known who asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from tunegate.admission.rules import Window, unguarded
from tunegate.api.approvalpolicy import ApprovalPolicySpec
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.shared import Requester
from tunegate.reconcile.approvals import account, contributors, created
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.release.ballot import Decision, Question, Vote
from tunegate.release.requesters import needed


def made_unguarded(release: ModelRelease, job: FineTuneJob | None, times: Sequence[Window]) -> tuple[str, ...]:
    """Return which of release and job was made while the admission rules were not in force."""
    made = {"job": job, "release": release}
    return tuple(name for name, one in made.items() if one is not None and unguarded(created(one), times))


def question(release: ModelRelease, frozen: Frozen | None, policy: ApprovalPolicySpec | None) -> Question:
    """Return what is asked. ``policy`` is the live one: it only tells who may reject before there is a statement."""
    rules = frozen.statement.policy.spec if frozen is not None else policy
    asked = _asked(release, frozen)
    return Question(
        subject_uid=release.uid,
        digest=frozen.digest if frozen is not None else None,
        requesters=frozenset(account(one) for one in asked),
        contributors=contributors(frozen.statement.job.contributors if frozen is not None else ()),
        roles=needed(rules.roles, *asked) if rules is not None else (),
        max_age=timedelta(seconds=rules.max_approval_age_seconds if rules is not None else 0),
        identity=rules.identity if rules is not None else None,
    )


def override_question(release: ModelRelease, frozen: Frozen | None) -> Question:
    """Return what an Override answers: the same question, to the one role that may break the glass.

    It is counted as an approval is, so that an override is bound to the same digest, to people other than the
    requester, and to different people where the policy wants several.
    """
    asked = replace(question(release, frozen, None), roles=())
    glass = frozen.statement.policy.spec.break_glass if frozen is not None else None
    if glass is None:
        return asked
    roles = needed([glass.asked], *_asked(release, frozen))
    return replace(asked, roles=roles, max_age=timedelta(seconds=glass.max_seconds))


def overrides(votes: Iterable[Vote]) -> list[Vote]:
    """Return the votes that ``override_question`` counts: each Override as an approval, and what takes it back.

    The other decisions stay, as ones that fill no slot there: their accounts may show that two are one person.
    """
    other: Mapping[Decision, Decision] = {"Override": "Approve", "Withdraw": "Withdraw"}
    return [replace(vote, decision=other.get(vote.decision, "Override")) for vote in votes]


def _asked(release: ModelRelease, frozen: Frozen | None) -> tuple[Requester, ...]:
    """Return who asked for the release, and for the job where it is known."""
    return (release.spec.requested_by, *([frozen.statement.job.requested_by] if frozen is not None else []))
