"""What a release asks its reviewers, and whether it is known who asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from tunegate.admission.rules import Window, unguarded
from tunegate.api.approvalpolicy import ApprovalPolicySpec
from tunegate.api.finetunejob import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.reconcile.approvals import account, created
from tunegate.reconcile.modelrelease_entries import Frozen
from tunegate.release.counting import Question


def made_unguarded(release: ModelRelease, job: FineTuneJob | None, times: Sequence[Window]) -> tuple[str, ...]:
    """Return which of release and job was made while the admission rules were not in force."""
    made = {"job": job, "release": release}
    return tuple(name for name, one in made.items() if one is not None and unguarded(created(one), times))


def question(release: ModelRelease, frozen: Frozen | None, policy: ApprovalPolicySpec | None) -> Question:
    """Return what is asked. ``policy`` is the live one: it only tells who may reject before there is a statement."""
    rules = frozen.statement.policy.spec if frozen is not None else policy
    requesters = {account(release.spec.requested_by)}
    if frozen is not None:
        requesters.add(account(frozen.statement.job.requested_by))
    return Question(
        subject_uid=release.uid,
        digest=frozen.digest if frozen is not None else None,
        requesters=frozenset(requesters),
        roles=tuple(rules.roles) if rules is not None else (),
        max_age=timedelta(seconds=rules.max_approval_age_seconds if rules is not None else 0),
        identity=rules.identity if rules is not None else None,
    )
