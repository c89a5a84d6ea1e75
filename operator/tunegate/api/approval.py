"""Approval: one decision by one person; created, never changed, never deleted."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.markers import ApiModel, Column, Digest, Kind, Resource, ResourceName, Time, cel, immutable, rules
from tunegate.api.shared import Person


class SubjectRef(ApiModel):
    """What is decided on."""

    kind: Literal["ModelRelease"]
    name: ResourceName
    uid: Annotated[str, Field(max_length=64, min_length=1)]


class ApprovalSpec(ApiModel):
    """The decision."""

    model_config = rules(
        immutable("An Approval"),
        cel(
            "self.decision == 'Approve' || self.reason.size() >= 10",
            "reason needs at least 10 characters for Reject, Withdraw and Revoke",
        ),
    )

    subject_ref: SubjectRef
    subject_digest: Digest
    """`status.releaseDigest` of the release: the approval holds for exactly this content."""
    role: ResourceName
    """Role of the namespace's ApprovalPolicy."""
    decision: Literal["Approve", "Reject", "Withdraw", "Revoke"]
    """`Withdraw` takes back one's own approval; `Reject` and `Revoke` are final for the release."""
    reason: Annotated[str, Field(min_length=1, max_length=2048)]
    approver: Person
    """The caller; `tunegate approve` fills it in."""
    expires_at: Time
    """After this the approval starts no new rollout."""


class Approval(Resource):
    """A reviewer's decision."""

    model_config = rules(cel("self.metadata.name.size() <= 63", "metadata.name may have at most 63 characters"))
    KIND: ClassVar[Kind] = Kind(
        "Approval",
        "approvals",
        ("appr",),
        "Namespaced",
        (
            Column("Release", ".spec.subjectRef.name"),
            Column("Decision", ".spec.decision"),
            Column("Role", ".spec.role"),
            Column("By", ".spec.approver.username"),
            Column("Expires", ".spec.expiresAt", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: ApprovalSpec
