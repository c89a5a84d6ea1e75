"""What a decision is refused for before anybody is asked to confirm it, so that nobody confirms what the server then refuses."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tunegate.api.approval import REASON_LIMIT, REASON_MINIMUM, REASON_RULE, Approval, CountedApproval
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.cluster import Cluster, readable
from tunegate.cli.decisions import FINAL
from tunegate.cli.failure import CommandFailure

POSITIVE = ("Approve", "Withdraw", "Override")
"""Decisions that mean nothing for what is final. A stop is taken at any time."""


def check_reason(decision: str, reason: str) -> None:
    """Raise ``CommandFailure`` for a reason that the API does not take, in its own words."""
    if not reason:
        raise CommandFailure("reason: say why; it is kept forever")
    if decision != "Approve" and len(reason) < REASON_MINIMUM:
        raise CommandFailure(f"{REASON_RULE}; this one has {len(reason)}")
    if len(reason) > REASON_LIMIT:
        raise CommandFailure(f"reason may have at most {REASON_LIMIT} characters; this one has {len(reason)}")


def check_release(release: ModelRelease, decision: str) -> None:
    """Raise ``CommandFailure`` where the decision comes too late, or too early."""
    status = release.status
    if decision not in POSITIVE:
        return
    if status.phase in FINAL:
        still = "; reject or revoke still close it for good" if status.phase == "Failed" else ", for good"
        raise CommandFailure(
            f"{release.name} is {status.phase}{still}. Why: tunegate describe release/{release.name} -n {release.namespace}. "
            f"Its job may be asked for again: tunegate create release --from-job {release.spec.job_ref.name}"
        )
    if status.release_digest is None:
        raise CommandFailure(f"{release.name} has no digest yet: {status.message or status.phase}")


def check_withdrawn(withdrawn: Collection[str], username: str, decision: str) -> None:
    """Raise ``CommandFailure`` for who took an approval of this back: whatever they approve then does not count."""
    if decision in ("Approve", "Override") and username in withdrawn:
        raise CommandFailure(
            "you withdrew your approval, and that is permanent: ask another person of your role, or have a new release created"
        )


def check_second(counted: Iterable[CountedApproval], username: str, role: str, options: Namespace) -> None:
    """Refuse with `--yes`, and otherwise warn of, a second approval of a person in a role: one person counts once.

    It counts once the first lapses, so whoever says by `--expires` until when means it.
    """
    first = next((one for one in counted if (one.username, one.role) == (username, role)), None)
    if first is None:
        return
    message = (
        f"you approved this as {role} at {first.time} ({first.name}), and one person counts once: a second approval counts only after "
        "the first has lapsed"
    )
    if options.yes and options.expires is None:
        raise CommandFailure(f"{message}. Nothing was recorded; to prolong yours, give --expires")
    print(f"This may not count: {message}", file=sys.stderr)


def check_given(cluster: Cluster, subject_uid: str, me: Mapping[str, Any], namespace: str) -> None:
    """Raise ``CommandFailure`` for who takes back what they never gave: they could not approve it later either."""
    own = [
        one
        for one in readable(cluster.all, Approval, namespace) or ()
        if one.spec.subject_ref.uid == subject_uid and one.spec.approver.username == me.get("username")
    ]
    if not any(one.spec.decision in ("Approve", "Override") for one in own):
        raise CommandFailure("you have given no approval of this that you could take back; nothing was recorded")
    if any(one.spec.decision == "Withdraw" for one in own):
        raise CommandFailure("you took your approvals of this back before; nothing was recorded")


def check_waiver(job: FineTuneJob, decision: str) -> None:
    """Raise ``CommandFailure`` where no decision on a job's waiver is taken."""
    if decision == "Revoke":
        raise CommandFailure("only a release can be revoked: reject the waiver of a job while it waits")
    if decision == "Override":
        raise CommandFailure("only a release can be overridden: a waiver takes the approvals that the policy asks for")
    if job.status.phase == "PendingWaiver" and job.status.waiver is not None:
        return
    if job.status.waiver is None:
        raise CommandFailure(f"job {job.name} does not wait for a waiver: it is {job.status.phase}")
    raise CommandFailure(
        f"the waiver of job {job.name} is decided, the job is {job.status.phase}: see "
        f"tunegate describe job/{job.name} -n {job.namespace}. What goes on may be stopped by rejecting its release"
    )


def check_role(cluster: Cluster, verb: str, role: str, namespace: str, known: Collection[str] = ()) -> None:
    """Raise ``CommandFailure`` for a role that the API server does not let this person decide in.

    ``known``: the roles of the policies that this person may read.
    """
    roles = ", ".join(sorted(set(known)))
    there = "" if not roles or role in known else f", and no policy has such a role: there are {roles}"
    if not cluster.may(verb, "approvalroles", role, namespace):
        raise CommandFailure(
            f"role {role} is not yours in namespace {namespace}: you do not hold the verb {verb!r} on it{there}. "
            "Leave --role out to decide in your own"
        )


def warn_of_groups(role: str, asked: Collection[str], own: Collection[str]) -> None:
    """Warn who is in none of the role's groups. Only the operator knows which policy counts, so it is no refusal."""
    if asked and not set(asked) & set(own):
        print(
            f"This may not count: role {role} takes members of {', '.join(sorted(asked))}; "
            f"you are in {', '.join(sorted(own)) or 'no group'}",
            file=sys.stderr,
        )
