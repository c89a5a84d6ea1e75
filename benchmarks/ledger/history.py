"""A made-up history of a site: what happens to one job and its release after another, as records and as objects."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import EventType
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.release.content import approval_digest

Json = dict[str, Any]
NAMESPACE = "licenses-team"
JOB: tuple[EventType, ...] = ("JobRequested", "BudgetReserved", "AdapterSealed", "JobFinished")
LATER: tuple[EventType, ...] = ("ReleaseApproved", "RolloutStarted", "RouteOpened")
ROLES = ("model-risk", "compliance")
EACH = len(JOB) + 1 + len(ROLES) + len(LATER)
"""Records of one release."""


def _uid(number: int, kind: int) -> str:
    return str(uuid.UUID(int=number * 16 + kind))


def _digest(number: int) -> str:
    return f"sha256:{number:064x}"


def approval(number: int, role: int) -> Json:
    """A decision on release ``number``."""
    spec = {
        "subjectRef": {"kind": "ModelRelease", "name": f"release-{number}", "uid": _uid(number, 1)},
        "subjectDigest": _digest(number), "role": ROLES[role], "decision": "Approve",
        "reason": "the answers of the gate were read, and the use is the intended one",
        "approver": {"username": f"{ROLES[role]}@example.org", "uid": _uid(role, 9), "groups": ["tunegate:reviewers"]},
        "expirationTime": "2027-01-01T00:00:00Z",
    }  # fmt: skip
    metadata = {
        "name": f"release-{number}-{ROLES[role]}", "namespace": NAMESPACE, "uid": _uid(number, 2 + role),
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return {"apiVersion": API_VERSION, "kind": "Approval", "metadata": metadata, "spec": spec}


def release(number: int) -> Json:
    """Release ``number`` as it stands once it serves."""
    obj = {
        "apiVersion": API_VERSION, "kind": "ModelRelease",
        "metadata": {"name": f"release-{number}", "namespace": NAMESPACE, "uid": _uid(number, 1)},
        "spec": {
            "requestedBy": {"username": "mia@example.org", "uid": _uid(1, 9), "groups": ["tunegate:engineers"]},
            "jobRef": {"name": f"job-{number}", "uid": _uid(number, 0)}, "modelName": "licenses",
            "intendedUse": "Names the license of a file for our own register.", "risk": "Low",
        },
        "status": {"phase": "Serving", "releaseDigest": _digest(number), "approvedTime": "2026-01-01T00:00:00Z"},
    }  # fmt: skip
    ModelRelease.model_validate(obj)
    return obj


def objects(releases: int) -> Iterator[Json]:
    """All that an export compares the ledger with."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    for number in range(releases):
        yield release(number)
        yield from (approval(number, role) for role in range(len(ROLES)))


def entries(releases: int) -> Iterator[AuditEntry]:
    """Everything that happens, about 1 kB each."""
    for number in range(releases):
        job = AuditSubject("FineTuneJob", NAMESPACE, f"job-{number}", _uid(number, 0))
        subject = AuditSubject("ModelRelease", NAMESPACE, f"release-{number}", _uid(number, 1))
        digests = {"releaseDigest": _digest(number), "adapter": _digest(number + 1), "evidence": _digest(number + 2)}
        for type_ in JOB:
            yield AuditEntry(
                type_, "tunegate-operator", job, str(number), {**digests, "deviceHours": "1.5", "cost": "3"}
            )
        yield AuditEntry("ReleaseRequested", "mia@example.org", subject, str(number), digests)
        for role, name in enumerate(ROLES):
            made = Approval.model_validate(approval(number, role))
            payload = {
                "approval": made.uid, "name": made.name, "decision": "Approve", "role": name, "content": approval_digest(made),
                "subjectDigest": made.spec.subject_digest, "expirationTime": made.spec.expiration_time,
            }  # fmt: skip
            yield AuditEntry("ApprovalRecorded", made.spec.approver.username, subject, made.uid, payload)
        for type_ in LATER:
            yield AuditEntry(type_, "tunegate-operator", subject, str(number), digests)
