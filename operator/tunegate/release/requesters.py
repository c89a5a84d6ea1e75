"""Requesters whom nobody knows: a GitOps tool asks under its own name, and hides which person wanted it."""

from __future__ import annotations

from collections.abc import Iterable

from tunegate.api.approvalpolicy import ApprovalPolicySpec, ApprovalRole
from tunegate.api.shared import Requester


def refused(policy: str, spec: ApprovalPolicySpec, *requesters: Requester) -> str | None:
    """Return why the policy lets nothing go on that these asked for; None: it does."""
    names = sorted({one.username for one in requesters if one.unverified})
    if not names or spec.unverified_requester == "ExtraApproval":
        return None
    return (
        f"{' and '.join(names)} asked without saying for whom (spec.requestedBy.unverified), which ApprovalPolicy {policy} "
        "denies. Ask with your own credentials, as `tunegate create` does; or the policy's owner sets unverifiedRequester: "
        "ExtraApproval"
    )


def needed(roles: Iterable[ApprovalRole], *requesters: Requester) -> tuple[ApprovalRole, ...]:
    """Return the roles with the approvals that they need for what these asked.

    Who hides behind an unverified requester may be a reviewer. One more approval in each role, all by different people,
    leaves the quorum whole whoever of them it was; one more in total would not, since the one may have been the only
    reviewer of a role.
    """
    extra = int(any(one.unverified for one in requesters))
    return tuple(role.model_copy(update={"min_approvals": role.min_approvals + extra}) for role in roles)
