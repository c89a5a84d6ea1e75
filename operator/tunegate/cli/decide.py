"""`approve`, `reject`, `withdraw`, `revoke`: one decision by one person, on content that is shown first."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console

from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.conditions import rfc3339
from tunegate.api.finetunejob import FineTuneJob
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.failure import CommandFailure

UNITS = {"m": 60, "h": 3600, "d": 86_400}
DEFAULT_LIFE = 604_800
ON_CALL_ROLE = "serving-operator"
NO_DIGEST = "sha256:" + "0" * 64
"""Named by a Reject or Revoke of a release that has no digest yet; stops do not need one."""


@dataclass(frozen=True)
class Hat:
    """A role, and what the policies that know it say."""

    name: str
    groups: frozenset[str]
    max_age: int


def decide(cluster: Cluster, options: Namespace) -> int:
    """Record a decision. ``options.decision`` is one of Approve, Reject, Withdraw, Revoke."""
    namespace = options.namespace or cluster.namespace
    release = cluster.need(ModelRelease, options.name, namespace)
    digest = release.status.release_digest
    if digest is None and options.decision in ("Approve", "Withdraw"):
        raise CommandFailure(f"{release.name} has no digest yet: {release.status.message or release.status.phase}")
    if options.digest and options.digest != digest:
        raise CommandFailure(f"{release.name} has the digest {digest}, not {options.digest}: nothing was recorded")
    policies = readable(cluster.all, ApprovalPolicy) or []
    hat = _hat(cluster, options, release, policies)
    me = cluster.whoami()
    job = readable(cluster.get, FineTuneJob, release.spec.job_ref.name, namespace)
    _show(release, job, options.decision, hat)
    _confirm(options, release, digest)
    made = cluster.create(Approval, _approval(release, hat, me, options, digest or NO_DIGEST), namespace)
    print(f"{options.decision} of {namespace}/{release.name} recorded as {made['metadata']['name']} (role {hat.name})")
    return 0


def lifetime(text: str) -> int:
    """Return seconds of a text like `90m`, `24h`, `7d`. Raises ``ValueError``."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if not found:
        raise ValueError(f"{text!r}: expected a number and m, h or d, e.g. 24h")
    return int(found[1]) * UNITS[found[2]]


def _hat(cluster: Cluster, options: Namespace, release: ModelRelease, policies: list[ApprovalPolicy]) -> Hat:
    """Return the role to decide in: the one that was named, else the only one that this person may use here."""
    verb = "revoke" if options.decision == "Revoke" else "approve"
    name = options.role
    if name is None:
        missing = [entry.role for entry in release.status.missing]
        known = sorted({role.name for policy in policies for role in policy.spec.roles})
        candidates = list(dict.fromkeys([*missing, *known, *([ON_CALL_ROLE] if verb == "revoke" else [])]))
        held = [one for one in candidates if cluster.may(verb, "approvalroles", one, release.namespace)]
        if missing and verb == "approve":
            held = [one for one in held if one in missing] or held
        if not held:
            raise CommandFailure(f"you hold the verb {verb!r} on none of the roles {', '.join(candidates) or '(none)'}")
        if len(held) > 1 and verb == "approve":
            raise CommandFailure(f"you hold several roles: name one with --role: {', '.join(held)}")
        name = held[0]
    roles = [(policy, role) for policy in policies for role in policy.spec.roles if role.name == name]
    groups = frozenset(group for _, role in roles for group in role.groups)
    return Hat(name, groups, min((policy.spec.max_approval_age_seconds for policy, _ in roles), default=DEFAULT_LIFE))


def _approval(release: ModelRelease, hat: Hat, me: Json, options: Namespace, digest: str) -> Json:
    """Return the Approval. Of the person's groups only those go in that matter for the role."""
    own = [group for group in me.get("groups") or [] if not group.startswith("system:")]
    groups = [group for group in own if group in hat.groups] or own[:64]
    life = lifetime(options.expires) if options.expires else hat.max_age
    return {
        "apiVersion": API_VERSION,
        "kind": "Approval",
        "metadata": {"generateName": f"{release.name}-{options.decision.lower()}-", "namespace": release.namespace},
        "spec": {
            "subjectRef": {"kind": "ModelRelease", "name": release.name, "uid": release.uid},
            "subjectDigest": digest,
            "role": hat.name,
            "decision": options.decision,
            "reason": options.reason,
            "approver": {"username": me["username"], "groups": groups} | ({"uid": me["uid"]} if me.get("uid") else {}),
            "expiresAt": rfc3339(datetime.now(UTC) + timedelta(seconds=life)),
        },
    }


def _show(release: ModelRelease, job: FineTuneJob | None, decision: str, hat: Hat) -> None:
    """Print what is decided on: to the error stream, so that output can be piped."""
    console = Console(stderr=True, highlight=False)
    spec, status = release.spec, release.status
    console.print(f"[bold]{decision}[/] {release.namespace}/{release.name} as {hat.name}", markup=True)
    lines = {
        "digest": status.release_digest or "(none yet)",
        "state": f"{status.phase}, approvals {status.approvals or '-'}",
        "model name": f"{spec.model_name} (served as {status.served_name or '-'})",
        "intended use": spec.intended_use,
        "risk": spec.risk,
        "requested by": spec.requested_by.username,
    }
    if job is not None and job.uid == spec.job_ref.uid:
        data, gate = job.spec.dataset, job.status.gate
        lines["data"] = f"{data.classification}, {data.license}, {data.source}"
        if gate is not None:
            arms = ", ".join(f"{arm.name} {arm.score}" for arm in gate.arms)
            lines["gate"] = f"{gate.outcome}: {gate.metric} {gate.tuned} on {gate.questions} questions, against {arms}"
    for name, text in lines.items():
        console.print(f"  {name:13} {text}", markup=False)


def _confirm(options: Namespace, release: ModelRelease, digest: str | None) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailure("nobody is there to confirm: give --yes (and --digest, to be sure what is decided on)")
    print(
        f"{options.decision} exactly this content ({digest or release.uid})? [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailure("not confirmed: nothing was recorded")
