"""BaseModel: the catalogue entry of a base model, hashed once when it is admitted."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.markers import (
    LIST_SET,
    ApiModel,
    Column,
    DataClass,
    Digest,
    Kind,
    ModelUri,
    Names,
    Quantity,
    Resource,
    ResourceName,
    ShortText,
    Text,
    WebAddress,
    cel,
    immutable,
    reason_column,
    rules,
)
from tunegate.api.shared import StatusBase


class HubMirror(ApiModel):
    """How a model of a Hub mirror comes into the pods that read it: each copies it into a folder of its own."""

    endpoint: WebAddress | None = None
    """Address of the mirror; absent: `hubMirror.endpoint` of the chart's values. No other mirror is ever asked."""
    secret_name: ResourceName | None = None
    """Secret with the keys `HF_TOKEN`, `ca.crt` or both, in the system namespace and in each that uses the model."""
    size: Quantity = "50Gi"
    """Room for the model in each pod; a larger one is refused before a byte of it is read."""


class BaseModelSpec(ApiModel):
    """Where a base model lies and what it may be used for."""

    model_config = rules(
        immutable("A BaseModel"),
        cel(
            "!self.source.startsWith('hf://') || self.source.matches('@[0-9a-f]{40}$')",
            "source hf://… needs the full commit hash behind the name, 40 hex digits: a branch or tag may change",
        ),
        cel("!has(self.hub) || self.source.startsWith('hf://')", "hub is for a source hf://… only; leave it out"),
    )

    source: ModelUri
    """Folder with safetensors weights, configuration, tokenizer and chat template: on a claim, `pvc://claim/path`, or on
    a Hub mirror, `hf://organization/name@commit`."""
    hub: HubMirror | None = None
    """Where the mirror of a source `hf://` is, and what opens it."""
    license: ShortText
    """SPDX expression, e.g. `Apache-2.0`."""
    publisher: ShortText = ""
    """Who released the weights."""
    context_length: Annotated[int, Field(ge=128, le=10_000_000)]
    """Longest sequence in tokens that the model was made for."""
    cleared_for: Annotated[list[DataClass], Field(min_length=1, max_length=5, json_schema_extra=LIST_SET)]
    """Classes of data that may be used to tune it."""
    expected_manifest_digest: Digest | None = None
    """Refuse the model unless its manifest has this digest."""


class BaseModelStatus(StatusBase):
    """What was found when the model was hashed."""

    phase: Literal["Pending", "Hashing", "Ready", "Failed"] = "Pending"
    manifest_digest: Digest | None = None
    """SHA-256 of the RFC 8785 JSON of the sorted list of (path, size, SHA-256)."""
    result_digest: Digest | None = None
    """OCI digest of the document that holds the manifest."""
    files: int | None = None
    bytes: int | None = None
    parameters: int | None = None
    """Number of weights."""
    attempts: int = 0
    failure: Text | None = None


class BaseModel(Resource):
    """A base model of the catalogue."""

    KIND: ClassVar[Kind] = Kind(
        "BaseModel",
        "basemodels",
        ("bm",),
        "Cluster",
        (
            Column("Phase", ".status.phase"),
            reason_column("Ready"),
            Column("License", ".spec.license"),
            Column("Context", ".spec.contextLength", "integer"),
            Column("Manifest", ".status.manifestDigest", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("is part of the names of Jobs, of registry repositories and of labels"),
    )

    spec: BaseModelSpec
    status: BaseModelStatus = BaseModelStatus()
