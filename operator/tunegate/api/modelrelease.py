"""ModelRelease: "serve this job's adapter under that model name", and whether people agreed."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.approval import Tally
from tunegate.api.markers import (
    ApiModel,
    Column,
    Digest,
    Kind,
    Resource,
    ResourceName,
    ShortText,
    Time,
    cel,
    immutable,
    rules,
)
from tunegate.api.modelserver import ModelName
from tunegate.api.shared import Person, StatusBase

ReleasePhase = Literal[
    "PendingEvidence", "PendingApproval", "Approved", "RollingOut", "Serving", "Denied", "Revoked", "Failed"
]


class JobRef(ApiModel):
    """The job whose adapter is released."""

    name: ResourceName
    uid: Annotated[str, Field(max_length=64, min_length=1)]
    """A job made again under the same name is another job."""


class ModelReleaseSpec(ApiModel):
    """What is asked for; it never changes."""

    model_config = rules(immutable("A ModelRelease"))

    requested_by: Person
    job_ref: JobRef
    model_name: ModelName
    """Public name; a route of the server with this name may track the release."""
    intended_use: Annotated[str, Field(min_length=20, max_length=2048)]
    """What the model is for and what it must not be used for."""
    risk: Literal["Low", "Medium", "High"]


class ModelReleaseStatus(StatusBase, Tally):
    """Where the release stands."""

    phase: ReleasePhase = "PendingEvidence"
    release_digest: Digest | None = None
    """What approvals must name: SHA-256 of the RFC 8785 JSON of the release statement."""
    statement_digest: Digest | None = None
    """OCI digest of the stored release statement."""
    served_name: ModelName | None = None
    """Immutable name of the adapter in vLLM: `<release>-<first 8 hex digits of the adapter digest>`."""
    server: ResourceName | None = None
    approved_time: Time | None = None
    mlflow_version: ShortText | None = None


class ModelRelease(Resource):
    """A request to serve an adapter."""

    model_config = rules(cel("self.metadata.name.size() <= 40", "metadata.name may have at most 40 characters"))
    KIND: ClassVar[Kind] = Kind(
        "ModelRelease",
        "modelreleases",
        ("mrel",),
        "Namespaced",
        (
            Column("Phase", ".status.phase"),
            Column("Approvals", ".status.approvals"),
            Column("Model", ".spec.modelName"),
            Column("Served", ".status.servedName"),
            Column("Digest", ".status.releaseDigest", wide=True),
            Column("Message", ".status.message", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: ModelReleaseSpec
    status: ModelReleaseStatus = ModelReleaseStatus()
