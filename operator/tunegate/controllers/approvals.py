"""Approvals of one object, read live, with the question to RBAC that every count asks again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from tunegate.api.approval import Approval
from tunegate.api.markers import API_VERSION, Resource
from tunegate.api.shared import Person
from tunegate.controllers.reading import parsed
from tunegate.kube.client import KubeClient
from tunegate.reconcile.approvals import names
from tunegate.reconcile.stops import STOPPING

VERBS = {"Approve": "approve", "Override": "override"}
"""Decision -> RBAC verb on its role, for those that let something happen."""


@dataclass(frozen=True)
class Decisions:
    """The approvals of one object. Those that can be read act; they are all there are only if ``unreadable`` is empty."""

    approvals: tuple[Approval, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Names of approvals that cannot be read, sorted: each may be one that takes something back."""


async def read_approvals(kube: KubeClient, subject: Resource) -> Decisions:
    """Return the decisions that name the object. The server looks for them; what counts is not left to it."""
    fields = f"spec.subjectRef.kind={subject.kind},spec.subjectRef.name={subject.name}"
    found = await kube.list(API_VERSION, Approval.KIND.kind, subject.namespace, fields=fields)
    approvals = parsed(Approval, found)
    unreadable = {str(one["metadata"]["name"]) for one in found} - {one.name for one in approvals}
    return Decisions(tuple(one for one in approvals if names(one, subject)), tuple(sorted(unreadable)))


async def read_stops(kube: KubeClient, namespace: str) -> tuple[Approval, ...]:
    """Return the decisions on releases of a namespace that take something away, as far as they can be read."""
    fields = "spec.subjectRef.kind=ModelRelease,spec.decision!=Approve"
    found = await kube.list(API_VERSION, Approval.KIND.kind, namespace, fields=fields)
    return tuple(one for one in parsed(Approval, found) if one.spec.decision in STOPPING)


async def still_backed(
    kube: KubeClient, subject: Resource, approvals: Iterable[Approval], digest: str | None
) -> frozenset[str]:
    """Ask RBAC again for every approval that could count: rights that were taken since then count no more.

    Each person is asked about once for a role, however often they approved.
    """
    backed = set()
    answers: dict[tuple[str, str, str], bool] = {}
    for approval in approvals:
        spec = approval.spec
        verb = VERBS.get(spec.decision)
        if verb is None or spec.subject_ref.uid != subject.uid or spec.subject_digest != digest:
            continue
        key = (_identity(spec.approver), verb, spec.role)
        if key not in answers:
            answers[key] = await kube.allowed(
                spec.approver, verb=verb, resource="approvalroles", name=spec.role, namespace=subject.namespace
            )
        if answers[key]:
            backed.add(approval.uid)
    return frozenset(backed)


def _identity(person: Person) -> str:
    """Return what RBAC is told of the person."""
    told = (person.username, person.uid, sorted(set(person.groups)), dict(person.extra))
    return json.dumps(told, sort_keys=True)
