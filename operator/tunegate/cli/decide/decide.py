"""`approve`, `reject`, `withdraw`, `revoke`, `override`: one decision by one person, on content that is shown first."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from tunegate.api.approval import Approval, DroppedApproval, Tally
from tunegate.api.approvalpolicy import ApprovalPolicy, ApprovalRole
from tunegate.api.conditions import rfc3339
from tunegate.api.evaluationsuite import unanswered
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.decide import refusals, signing
from tunegate.cli.decide.consequences import consequences
from tunegate.cli.failure import CommandFailure
from tunegate.cli.reference import JOB, needed
from tunegate.cli.whoami import caller, own_groups

DEFAULT_LIFE = 604_800
ON_CALL_ROLE = "serving-operator"
VERBS = {"Revoke": "revoke", "Override": "override"}
"""Decision -> RBAC verb on its role; all others need `approve`."""
NO_DIGEST = "sha256:" + "0" * 64
"""Named by a Reject or Revoke of a release that has no digest yet; stops do not need one."""


@dataclass(frozen=True)
class ReviewerRole:
    """A role, and what the policies that know it say."""

    name: str
    groups: frozenset[str]
    max_age: int
    signed: bool = False
    """Whether one of them counts signed approvals only."""


@dataclass(frozen=True)
class Subject:
    """What is decided on: a release, or the waiver that a job waits for."""

    kind: Literal["ModelRelease", "FineTuneJob"]
    name: str
    namespace: str
    uid: str
    digest: str | None
    missing: Mapping[str, int]
    """Open slots by role."""
    roles: tuple[ApprovalRole, ...]
    """All that policies name for this kind of decision."""
    max_ages: Mapping[str, int]
    """Longest life of an approval in seconds, by role."""
    withdrawn: frozenset[str]
    """Usernames of those who took an approval of it back."""
    tally: Tally
    """What counts of it now."""
    lines: Mapping[str, str]
    """What to show before the decision, by heading."""

    @property
    def complete(self) -> bool:
        """Whether it was counted, and no approval is missing."""
        return bool(self.tally.approvals) and not self.tally.missing


def decide(cluster: Cluster, options: Namespace) -> int:
    """Record a decision. ``options.decision`` is one of Approve, Reject, Withdraw, Revoke, Override."""
    refusals.check_reason(options.decision, options.reason)
    namespace = options.namespace or cluster.namespace
    policies = readable(cluster.all, ApprovalPolicy) or []
    name = options.subject.name
    if options.subject.kind == JOB:
        subject = _waiver(needed(cluster, FineTuneJob, name, namespace), policies, options.decision)
    else:
        subject = _release(cluster, needed(cluster, ModelRelease, name, namespace), policies, options.decision)
    if options.digest and options.digest != subject.digest:
        raise CommandFailure(f"{name} has the digest {subject.digest}, not {options.digest}: nothing was recorded")
    role = _reviewer_role(cluster, options, subject)
    me = cluster.whoami()
    if options.decision == "Withdraw":
        refusals.check_given(cluster, subject.uid, me, namespace)
    refusals.check_withdrawn(subject.withdrawn, str(me.get("username", "")), options.decision)
    if options.decision == "Approve":
        refusals.check_second(subject.tally.counted, str(me.get("username", "")), role.name, options)
    refusals.warn_of_groups(role.name, role.groups, own_groups(me))
    document = _approval(subject, role, me, options)
    _show(subject, document["spec"])
    if options.key is not None:
        signing.show(document)
    elif role.signed and options.decision in ("Approve", "Override"):
        print(f"Without --key this may not count: role {role.name} takes signed approvals", file=sys.stderr)
    _confirm(options, subject)
    if options.key is not None:
        document = signing.signed(document, options)
    made = cluster.create(Approval, document, namespace)
    print(
        f"{options.decision} of {options.subject} in namespace {namespace} recorded as {made['metadata']['name']} "
        f"(role {role.name})"
    )
    return 0


def _release(cluster: Cluster, release: ModelRelease, policies: list[ApprovalPolicy], decision: str) -> Subject:
    refusals.check_release(release, decision)
    spec, status = release.spec, release.status
    lines = {
        "digest": status.release_digest or "(none yet)",
        "state": f"{status.phase}, approvals {status.approvals or '-'}",
        "model name": f"{spec.model_name} (served as {status.served_name or '-'})",
        "intended use": spec.intended_use,
        "risk": spec.risk,
        "requested by": spec.requested_by.username,
    }
    roles = _breakers(policies) if decision == "Override" else _reviewers(policies)
    job = readable(cluster.get, FineTuneJob, spec.job_ref.name, release.namespace)
    if job is not None and job.uid == spec.job_ref.uid:
        lines |= _job_lines(job)
    return Subject(
        kind="ModelRelease",
        name=release.name,
        namespace=release.namespace,
        uid=release.uid,
        digest=status.release_digest,
        missing={entry.role: entry.missing for entry in status.missing} if decision != "Override" else {},
        roles=tuple(role for role, _ in roles),
        max_ages=_ages(roles),
        withdrawn=_withdrawn(status.dropped),
        tally=status,
        lines=lines,
    )


def _waiver(job: FineTuneJob, policies: list[ApprovalPolicy], decision: str) -> Subject:
    refusals.check_waiver(job, decision)
    waiver = job.status.waiver
    if waiver is None:
        raise AssertionError("a job without a waiver is refused")
    lines = {
        "digest": waiver.digest,
        "state": f"{job.status.phase}, approvals {waiver.approvals or '-'}",
        **{f"finding {one.check}": one.message for one in waiver.findings},
        "requested by": job.spec.requested_by.username,
        **_job_lines(job),
    }
    return Subject(
        kind="FineTuneJob",
        name=job.name,
        namespace=job.namespace,
        uid=job.uid,
        digest=waiver.digest,
        missing={entry.role: entry.missing for entry in waiver.missing},
        roles=tuple(waiver.rules),
        max_ages=_ages(
            [(rule, policy.spec.max_approval_age_seconds) for policy in policies for rule in policy.spec.waivers]
        ),
        withdrawn=_withdrawn(waiver.dropped),
        tally=waiver,
        lines=lines,
    )


def _withdrawn(dropped: Iterable[DroppedApproval]) -> frozenset[str]:
    return frozenset(one.username for one in dropped if one.reason == "Withdrawn")


def _job_lines(job: FineTuneJob) -> dict[str, str]:
    data, gate, waiver = job.spec.dataset, job.status.gate, job.status.waiver
    redacted = job.status.dataset is not None and job.status.dataset.redacted_digest is not None
    lines = {"data": f"{data.classification}{' (redacted)' if redacted else ''}, {data.license}, {data.source}"}
    if job.status.dataset is not None:
        lines["rows"] = str(job.status.dataset.rows)
    if waiver is not None and waiver.granted_time is not None:
        people = ", ".join(f"{one.username} ({one.role})" for one in waiver.counted)
        lines["waived"] = f"{', '.join(one.check for one in waiver.findings)}, by {people}"
    if gate is not None:
        arms = ", ".join(
            f"{arm.name} {arm.score}{f' ({silent})' if silent else ''}"
            for arm in gate.arms
            for silent in [unanswered(arm.name, arm.answered, gate.questions)]
        )
        lines["gate"] = f"{gate.outcome}: {gate.metric} {gate.tuned} on {gate.questions} questions, against {arms}"
    return lines


def _reviewers(policies: Iterable[ApprovalPolicy]) -> list[tuple[ApprovalRole, int]]:
    """Return the roles that decide on releases, each with the longest life of an approval in seconds."""
    return [(role, policy.spec.max_approval_age_seconds) for policy in policies for role in policy.spec.roles]


def _breakers(policies: Iterable[ApprovalPolicy]) -> list[tuple[ApprovalRole, int]]:
    """Return the roles that may override, each with the longest life of an override in seconds."""
    glasses = [policy.spec.break_glass for policy in policies if policy.spec.break_glass is not None]
    return [(one.asked, one.max_seconds) for one in glasses]


def _ages(roles: Iterable[tuple[ApprovalRole, int]]) -> dict[str, int]:
    """Return the shortest of the longest lives that the policies which know a role allow."""
    ages: dict[str, int] = {}
    for role, age in roles:
        ages[role.name] = min(ages.get(role.name, age), age)
    return ages


def _reviewer_role(cluster: Cluster, options: Namespace, subject: Subject) -> ReviewerRole:
    """Return the role to decide in: the one that was named, else the only one that this person may use here."""
    verb = VERBS.get(options.decision, "approve")
    name = options.role
    if name is None:
        known = sorted({role.name for role in subject.roles})
        candidates = list(dict.fromkeys([*subject.missing, *known, *([ON_CALL_ROLE] if verb == "revoke" else [])]))
        held = [one for one in candidates if cluster.may(verb, "approvalroles", one, subject.namespace)]
        if subject.missing and verb == "approve":
            held = [one for one in held if one in subject.missing] or held
        if not held:
            raise CommandFailure(f"you hold the verb {verb!r} on none of the roles {', '.join(candidates) or '(none)'}")
        if len(held) > 1 and verb != "revoke":
            raise CommandFailure(f"you hold several roles: name one with --role: {', '.join(held)}")
        name = held[0]
    else:
        known_roles = [role.name for role in subject.roles] + ([ON_CALL_ROLE] if verb == "revoke" else [])
        refusals.check_role(cluster, verb, name, subject.namespace, known_roles)
    known_as = [role for role in subject.roles if role.name == name]
    groups = frozenset(group for role in known_as for group in role.groups)
    signed = any(role.signers is not None for role in known_as)
    return ReviewerRole(name, groups, subject.max_ages.get(name, DEFAULT_LIFE), signed)


def _approval(subject: Subject, role: ReviewerRole, me: Json, options: Namespace) -> Json:
    """Return the Approval. Of the person's groups only those go in that matter for the role."""
    own = own_groups(me)
    groups = [group for group in own if group in role.groups] or own[:64]
    life = options.expires or role.max_age
    return {
        "apiVersion": API_VERSION,
        "kind": "Approval",
        "metadata": {"generateName": f"{subject.name}-{options.decision.lower()}-", "namespace": subject.namespace},
        "spec": {
            "subjectRef": {"kind": subject.kind, "name": subject.name, "uid": subject.uid},
            "subjectDigest": subject.digest or NO_DIGEST,
            "role": role.name,
            "decision": options.decision,
            "reason": options.reason,
            "approver": caller(me, groups),
            "expirationTime": rfc3339(datetime.now(UTC) + timedelta(seconds=life)),
        },
    }


def _show(subject: Subject, spec: Json) -> None:
    """Print what is decided on and what will be recorded: to the error stream, so that output can be piped."""
    out = screen.console(stderr=True)
    what = "" if subject.kind == "ModelRelease" else "waiver of job "
    screen.heading(out, spec["decision"], f"{what}{subject.namespace}/{subject.name} as {spec['role']}")
    screen.facts(out, list(subject.lines.items()))
    person = {name: value for name, value in spec["approver"].items() if name not in ("username", "groups")}
    groups = ", ".join(spec["approver"]["groups"]) or "no group"
    screen.heading(out, "Recorded forever, in your name")
    screen.facts(
        out,
        [
            ("by", f"{spec['approver']['username']} ({groups})"),
            *person.items(),
            ("reason", spec["reason"]),
            *consequences(subject.kind, spec, subject.missing, complete=subject.complete),
        ],
    )


def _confirm(options: Namespace, subject: Subject) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailure("nobody is there to confirm: give --yes (and --digest, to be sure what is decided on)")
    print(
        f"{options.decision} exactly this content ({subject.digest or subject.uid})? [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailure("not confirmed: nothing was recorded")
