"""ModelRelease: "serve this job's adapter under that model name", and whether people agreed."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.approval import CountedApproval, Tally
from tunegate.api.markers import (
    ApiModel,
    Column,
    Digest,
    Kind,
    Names,
    Resource,
    ResourceName,
    ShortText,
    Time,
    immutable,
    list_map,
    reason_column,
    rules,
)
from tunegate.api.routes import ModelName
from tunegate.api.shared import NamedRef, Requester, StatusBase

ReleasePhase = Literal[
    "PendingEvidence",
    "PendingApproval",
    "Approved",
    "RollingOut",
    "Serving",
    "Overridden",
    "Denied",
    "Revoked",
    "Failed",
]
MAY_SERVE: tuple[ReleasePhase, ...] = ("Approved", "RollingOut", "Serving", "Overridden")
"""Phases in which a server may hold the adapter and answer with it: every other phase closes its routes at once. The chart's
admission rules name the same."""
STOPPED: tuple[ReleasePhase, ...] = ("Denied", "Revoked")
"""Phases of a release that people ended for good."""
OverrideOutcome = Literal["Reviewed", "Expired", "Withdrawn", "Stopped"]
"""`Reviewed`: the quorum was reached in time. `Stopped`: the release was rejected or revoked."""


class JobRef(ApiModel):
    """The job whose adapter is released."""

    name: ResourceName
    uid: Annotated[str, Field(max_length=64, min_length=1)]
    """A job made again under the same name is another job."""


class ModelReleaseSpec(ApiModel):
    """What is asked for; it never changes."""

    model_config = rules(immutable("A ModelRelease"))

    requested_by: Requester
    job_ref: JobRef
    model_name: ModelName
    """Public name; a route of the server with this name may track the release."""
    intended_use: Annotated[str, Field(min_length=20, max_length=2048)]
    """What the model is for and what it must not be used for."""
    risk: Literal["Low", "Medium", "High"]


class Override(ApiModel):
    """The glass was broken: the release is, or was, served for a time without its quorum."""

    overrides: ShortText
    """Counted of required, e.g. `1/2`."""
    counted: Annotated[list[CountedApproval], Field(max_length=10, json_schema_extra=list_map("name"))] = []
    """Who overrides."""
    granted_time: Time | None = None
    """Absent: too few overrides."""
    expiration_time: Time | None = None
    """When the release is closed, unless its quorum is reached before."""
    outcome: OverrideOutcome | None = None
    """How it ended; absent: it holds."""


class ModelReleaseStatus(StatusBase, Tally):
    """Where the release stands."""

    phase: ReleasePhase = "PendingEvidence"
    release_digest: Digest | None = None
    """What approvals must name: SHA-256 of the RFC 8785 JSON of the release statement."""
    statement_digest: Digest | None = None
    """OCI digest of the stored release statement."""
    served_name: ModelName | None = None
    """Immutable name of the adapter in vLLM: `<release>-<first 8 hex digits of the adapter digest>`."""
    server_ref: NamedRef | None = None
    """ModelServer that is to serve the adapter: the job's."""
    approved_time: Time | None = None
    override: Override | None = None
    """Present when somebody broke the glass."""
    mlflow_version: ShortText | None = None
    mlflow_model: ShortText | None = None
    """Registered model that holds the version; another name than the release's where somebody else took that one first."""


class ModelRelease(Resource):
    """A request to serve an adapter."""

    KIND: ClassVar[Kind] = Kind(
        "ModelRelease",
        "modelreleases",
        ("mrel",),
        "Namespaced",
        (
            Column("Phase", ".status.phase"),
            reason_column("Ready"),
            Column("Approvals", ".status.approvals"),
            Column("Model", ".spec.modelName"),
            Column("Served", ".status.servedName"),
            Column("Digest", ".status.releaseDigest", wide=True),
            Column("Message", ".status.message", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("is part of the name under which the engine serves it, and of registry repositories"),
        selectable=(".status.phase", ".status.serverRef.name"),
    )

    spec: ModelReleaseSpec
    status: ModelReleaseStatus = ModelReleaseStatus()
