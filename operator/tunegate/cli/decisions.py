"""Who decided what on a release or on the waiver of a job, what each decision is worth, and who is waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console

from tunegate.api.approval import Approval, CountedApproval, Tally
from tunegate.api.approvalpolicy import ApprovalRole
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json, readable

STOPS = ("Reject", "Revoke")
LIVES = ("Approve", "Override")
"""Decisions that lapse; all others hold forever."""
FINAL = ("Denied", "Revoked", "Failed")
"""Phases of a release in which no approval changes anything any more."""


def collect(
    cluster: Cluster,
    subject: ModelRelease | FineTuneJob,
    tally: Tally,
    *,
    stopped: bool,
    overrides: Iterable[CountedApproval] = (),
) -> list[Json]:
    """Return the decisions on a subject, oldest first; ``stopped``: one of them ended it."""
    worth = {one.name: "yes" for one in tally.counted} | {one.name: "as an override" for one in overrides}
    dropped = {one.name: one for one in tally.dropped}
    found: list[Approval] = readable(cluster.all, Approval, subject.namespace) or []
    return [
        {
            "name": one.name, "decision": one.spec.decision, "role": one.spec.role, "by": one.spec.approver.username,
            "time": one.metadata.get("creationTimestamp"),
            "expires": one.spec.expiration_time if one.spec.decision in LIVES else None, "reason": one.spec.reason,
            "digest": one.spec.subject_digest, "approver": one.spec.approver.to_dict(),
            "counted": worth[one.name] if one.name in worth else dropped[one.name].reason if one.name in dropped
            else _uncounted(one, stopped=stopped),
            "why": dropped[one.name].message if one.name in dropped else None,
        }
        for one in sorted(found, key=lambda one: (str(one.metadata.get("creationTimestamp")), one.name))
        if one.spec.subject_ref.uid == subject.uid
    ]  # fmt: skip


def missing(tally: Tally, roles: Iterable[ApprovalRole], *, final: bool) -> list[Json]:
    """Return the open slots, and which groups may fill them: none once nothing can be decided any more."""
    groups: dict[str, set[str]] = {}
    for role in roles:
        groups.setdefault(role.name, set()).update(role.groups)
    return [
        {"role": one.role, "missing": one.missing, "groups": sorted(groups.get(one.role, ()))}
        for one in (() if final else tally.missing)
    ]


def print_table(out: Console, approvals: str | None, found: Sequence[Json]) -> None:
    """Print who decided what, and what does not count and why. ``approvals`` is counted of required."""
    screen.heading(
        out,
        "Decisions",
        f"{approvals} approvals count" if approvals else "none counted",
    )
    rows = [
        (
            _person(one), one["decision"], one["role"], str(one["time"]),
            f"{one['counted']}: {one['why']}" if one["why"] else one["counted"], one["reason"],
        )
        for one in found
    ]  # fmt: skip
    if rows:
        screen.table(out, ("by", "decision", "role", "at", "counted", "reason"), rows, indent=2)


def print_missing(out: Console, slots: Iterable[Mapping[str, Json]]) -> None:
    """Print who is waited for."""
    for one in slots:
        groups = f" (groups {', '.join(one['groups'])})" if one["groups"] else ""
        out.print(f"  waits for {one['missing']} of role {screen.shown(one['role'])}{screen.shown(groups)}")


def _uncounted(approval: Approval, *, stopped: bool) -> str:
    """Return what a decision is worth that neither fills a slot nor was dropped."""
    decision = approval.spec.decision
    if decision in STOPS:
        return "it decided" if stopped else "not counted yet"
    return "takes approvals back" if decision == "Withdraw" else "not any more" if stopped else "not counted yet"


def _person(decision: Json) -> str:
    """Return who decided, with the person-id where the API server knows one."""
    person = decision["approver"].get("personId")
    return f"{decision['by']} ({person})" if person else str(decision["by"])
