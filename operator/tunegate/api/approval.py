"""Approval: one decision by one person; created, never changed, never deleted."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.markers import (
    LIST_ATOMIC,
    ApiModel,
    Column,
    Digest,
    Kind,
    Names,
    Resource,
    ResourceName,
    ShortText,
    Text,
    Time,
    cel,
    immutable,
    list_map,
    rules,
)
from tunegate.api.shared import Person, PersonId

DropReason = Literal[
    "WrongSubject", "WrongDigest", "Expired", "Withdrawn", "UnknownRole", "NotInRoleGroup", "IsRequester", "IsContributor",
    "SamePerson", "NotNeeded", "NotAuthorized", "RulesNotInForce", "NoPersonId", "StaleSession", "NotSigned", "BadSignature",
]  # fmt: skip
REASON_MINIMUM = 10
REASON_LIMIT = 2048
REASON_RULE = f"reason needs at least {REASON_MINIMUM} characters for Reject, Withdraw, Revoke and Override"
BASE64 = r"^[A-Za-z0-9+/]+={0,2}$"


class SubjectRef(ApiModel):
    """What is decided on."""

    kind: Literal["ModelRelease", "FineTuneJob"]
    """A release to be served, or a job that waits for a waiver."""
    name: ResourceName
    uid: Annotated[str, Field(max_length=64, min_length=1)]


class EnvelopeSignature(ApiModel):
    """One signature over an envelope's payload."""

    keyid: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the public key in DER form, in hex."""
    sig: Annotated[str, Field(max_length=128, min_length=1, pattern=BASE64)]


class SignedStatement(ApiModel):
    """The decision once more, signed with the approver's own key: a DSSE envelope around an in-toto statement."""

    payload_type: Literal["application/vnd.in-toto+json"]
    payload: Annotated[str, Field(max_length=24576, min_length=1, pattern=BASE64)]
    signatures: Annotated[list[EnvelopeSignature], Field(min_length=1, max_length=1, json_schema_extra=LIST_ATOMIC)]


class ApprovalSpec(ApiModel):
    """The decision."""

    model_config = rules(
        immutable("An Approval"),
        cel(
            f"self.decision == 'Approve' || self.reason.size() >= {REASON_MINIMUM}",
            REASON_RULE,
        ),
        cel(
            "self.decision != 'Revoke' || self.subjectRef.kind == 'ModelRelease'",
            "decision Revoke stops a ModelRelease; for a FineTuneJob that waits for a waiver use Reject",
        ),
        cel(
            "self.decision != 'Override' || self.subjectRef.kind == 'ModelRelease'",
            "decision Override lets a ModelRelease be served without its quorum; no waiver is given that way",
        ),
    )

    subject_ref: SubjectRef
    subject_digest: Digest
    """`status.releaseDigest` of the release or `status.waiver.digest` of the job: the approval holds for exactly this content."""
    role: ResourceName
    """Role of the namespace's ApprovalPolicy: one of `roles` for a release, one of `waivers` for a job, that of
    `breakGlass` for an Override."""
    decision: Literal["Approve", "Reject", "Withdraw", "Revoke", "Override"]
    """`Withdraw` takes back one's own approvals; `Reject` and `Revoke` are final for the subject; `Override` breaks the
    glass: the release is served for a time without its quorum."""
    reason: Annotated[str, Field(min_length=1, max_length=REASON_LIMIT)]
    approver: Person
    """The caller; `tunegate approve` fills it in."""
    expiration_time: Time
    """After this the approval starts no new rollout and grants no waiver; what an Override opened is closed."""
    signature: SignedStatement | None = None
    """Needed where the policy names signers for the role; `tunegate approve --key` makes it."""


class Approval(Resource):
    """A reviewer's decision."""

    KIND: ClassVar[Kind] = Kind(
        "Approval",
        "approvals",
        ("appr",),
        "Namespaced",
        (
            Column("Kind", ".spec.subjectRef.kind"),
            Column("Subject", ".spec.subjectRef.name"),
            Column("Decision", ".spec.decision"),
            Column("Role", ".spec.role"),
            Column("By", ".spec.approver.username"),
            Column("Person", ".spec.approver.personId", wide=True),
            Column("Expires", ".spec.expirationTime", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("stands in statuses and in the ledger", most=63),
        selectable=(".spec.subjectRef.kind", ".spec.subjectRef.name", ".spec.subjectRef.uid", ".spec.decision"),
    )

    spec: ApprovalSpec


class CountedApproval(ApiModel):
    """An approval that fills a slot."""

    name: Annotated[str, Field(max_length=253)]
    username: Annotated[str, Field(max_length=256)]
    person_id: PersonId | None = None
    role: ResourceName
    time: Time


class DroppedApproval(ApiModel):
    """An approval that does not count, and why."""

    name: Annotated[str, Field(max_length=253)]
    username: Annotated[str, Field(max_length=256)]
    person_id: PersonId | None = None
    reason: DropReason
    message: Text


class MissingApproval(ApiModel):
    """Slots of a role that are still open."""

    role: ResourceName
    missing: int


class Tally(ApiModel):
    """The count of the approvals of one object, for people."""

    approvals: ShortText | None = None
    """Counted of required, e.g. `1/2`."""
    counted: Annotated[list[CountedApproval], Field(max_length=40, json_schema_extra=list_map("name"))] = []
    dropped: Annotated[list[DroppedApproval], Field(max_length=100, json_schema_extra=list_map("name"))] = []
    missing: Annotated[list[MissingApproval], Field(max_length=8, json_schema_extra=list_map("role"))] = []
