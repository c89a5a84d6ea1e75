"""What a release asks its reviewers."""

from __future__ import annotations

from datetime import timedelta

from tunegate.api.approvalpolicy import ApprovalPolicySpec
from tunegate.api.modelrelease import ModelRelease
from tunegate.reconcile.approvals import account
from tunegate.reconcile.modelrelease_entries import Frozen
from tunegate.release.counting import Question


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
    )
