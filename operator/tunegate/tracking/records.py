"""What MLflow is to show: whole records, made by pure code, written by ``tunegate.tracking.mlflow`` as often as needed.

A record carries its own fingerprint. MLflow keeps the fingerprint as a tag, so that the same record is written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

from tunegate.digests import document_digest

PHASE_TAG = "tunegate.phase"
UID_TAG = "tunegate.jobUid"
"""Tag by which stages and the operator find a job's run."""
FINGERPRINT_TAG = "tunegate.record"
RELEASE_UID_TAG = "gov.releaseUid"
OWNER_TAG = "gov.managedBy"
OWNER = "tunegate"
STANDS_FOR_TAG = "gov.standsFor"
"""Of experiments and registered models that the operator made: the name that they should have."""
GONE = "gone"
"""What is said of a run or version of which nothing is left."""
LEDGER_EXPERIMENT = "tunegate-ledger"
"""No namespace's experiment: those begin with `tunegate/`."""
CHECKPOINT_TAG = "tunegate.checkpoint"
CHECKPOINT_SIZE_TAG = "tunegate.checkpointSize"
TAG_LENGTH = 5000
"""Characters of a tag that MLflow keeps."""
RunState = Literal["RUNNING", "FINISHED", "FAILED"]


def experiment_name(namespace: str) -> str:
    """Return the name of the experiment that holds the runs of a namespace's jobs."""
    return f"tunegate/{namespace}"


def registered_model_name(namespace: str, model_name: str) -> str:
    """Return the name of the registered model: a namespace cannot take another's names."""
    return f"{namespace}.{model_name}"


def shown(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as MLflow keeps them."""
    return {key: value[:TAG_LENGTH] for key, value in tags.items()}


@dataclass(frozen=True)
class MetricPoint:
    """One number; the time (milliseconds since 1970) is that of the result, so writing it twice changes nothing."""

    name: str
    value: float
    time_ms: int
    step: int = 0


@dataclass(frozen=True)
class InputData:
    """A data set that the run read. MLflow holds 36 characters of a digest; the whole goes into a tag."""

    name: str
    digest: str
    source: str
    context: Literal["training", "evaluation"]


@dataclass(frozen=True)
class JobRecord:
    """Everything that MLflow shows of one job."""

    namespace: str
    name: str
    uid: str
    state: RunState
    start_ms: int
    end_ms: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[MetricPoint, ...] = ()
    inputs: tuple[InputData, ...] = ()
    reports: Mapping[str, str] = field(default_factory=dict)
    """Result documents by file name, as JSON text."""
    known_as: str | None = None
    """The run that the job's status names."""

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that is to be shown."""
        return _fingerprint(self)


@dataclass(frozen=True)
class ReleaseRecord:
    """Everything that MLflow shows of one release: one version of a registered model."""

    namespace: str
    name: str
    uid: str
    model: str
    source: str
    """`oci://<host>/<repository>@<digest>` of the sealed adapter."""
    run_id: str | None
    description: str
    tags: Mapping[str, str]
    known_as: str | None = None
    """The registered model that the release's status names."""

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that is to be shown."""
        return _fingerprint(self)


@dataclass(frozen=True)
class Written:
    """Where a record stands now."""

    identifier: str
    """Run id, or number of the version."""
    name: str
    """Of the experiment or the registered model."""


def _fingerprint(record: JobRecord | ReleaseRecord) -> str:
    content = asdict(record)
    content.pop("known_as")
    return document_digest(content)
