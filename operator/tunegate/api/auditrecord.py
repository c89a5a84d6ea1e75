"""AuditRecord: one entry of the hash-chained ledger."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field

from tunegate.api.markers import ApiModel, Column, Digest, Kind, Names, Resource, ShortText, Time, immutable, rules

EventType = Literal[
    "JobRequested", "BudgetReserved", "SuiteAsked", "JobFinished", "AdapterSealed", "ReleaseRequested", "EvidenceSealed",
    "ApprovalRecorded", "ReleaseApproved", "ReleaseDenied", "ReleaseRevoked", "BreakGlassGranted", "BreakGlassEnded",
    "WaiverGranted", "WaiverRejected", "RolloutStarted", "AdapterListed", "RouteOpened", "RouteClosed", "RouteWeightChanged",
    "RouteWentBack", "ShadowOpened", "ShadowClosed", "AdapterLeftOut",
    "AdmissionVerified", "AdmissionDrift", "PowersChanged", "TrackingDrift", "ForeignObjectFound", "RevocationConfirmed", "ServingPodDeleted",
    "RegistryContentDeleted", "HistoryRemoved", "CheckpointSigned", "KeyRotated", "EpochStarted",
]  # fmt: skip


RecordType = Annotated[
    str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z]{2,63}$", json_schema_extra={"enum": [*get_args(EventType)]})
]
"""An ``EventType`` or, where a newer version wrote the record, another word: what it means is not known here, and the chain is."""
OF_ANY_VERSION = ConfigDict(extra="allow")
"""Fields that a newer version added are kept, since the hash covers them. Each is a text or a map of texts."""


class AuditSubject(ApiModel):
    """The object that the entry speaks of."""

    model_config = OF_ANY_VERSION

    kind: ShortText
    namespace: ShortText = ""
    name: ShortText
    uid: ShortText


class AuditRecordSpec(ApiModel):
    """The entry. `hash` covers every other field, so any edit shows."""

    model_config = rules(immutable("An AuditRecord")) | OF_ANY_VERSION

    sequence: Annotated[int, Field(ge=1)]
    event_id: Digest
    """SHA-256 of what happened to what: the same event is never recorded twice."""
    time: Time
    type: RecordType
    actor: Annotated[str, Field(max_length=256)]
    subject: AuditSubject
    payload: Annotated[dict[str, Annotated[str, Field(max_length=2048)]], Field(max_length=32)] = {}
    """Digests, names and decisions; never data."""
    previous_hash: Digest
    hash: Digest


class AuditRecord(Resource):
    """An entry of the ledger, named `audit-<sequence, 10 digits>`: two writers cannot both append."""

    KIND: ClassVar[Kind] = Kind(
        "AuditRecord",
        "auditrecords",
        ("audit",),
        "Cluster",
        (
            Column("Type", ".spec.type"),
            Column("Namespace", ".spec.subject.namespace"),
            Column("Object", ".spec.subject.name"),
            Column("Actor", ".spec.actor"),
            Column("Time", ".spec.time", "date"),
            Column("Hash", ".spec.hash", wide=True),
        ),
        Names("is audit- with the sequence in ten digits", most=16, letter_first=True),
    )

    spec: AuditRecordSpec
