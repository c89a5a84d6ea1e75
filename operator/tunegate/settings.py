"""Settings of the operator: read once from the environment, frozen afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from tunegate.environment import PREFIX, unknown_variables
from tunegate.errors import Terminal

Number = Annotated[int, Field(ge=0)]


class GovernedNamespace(BaseModel):
    """A namespace that the operator serves, and the ApprovalPolicy that holds in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    policy: str


class PersonLimits(BaseModel):
    """How much one person may ask and decide in a namespace: the chart's `quotas.perPerson`. 0: no bound."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)

    open_jobs: Number = 0
    jobs_per_day: Number = 0
    open_releases: Number = 0
    releases_per_day: Number = 0
    approvals_per_day: Number = 0
    approvals_per_subject: Number = 0
    stops_per_day: Number = 0
    stops_per_subject: Number = 0

    @property
    def open(self) -> dict[str, int]:
        """How many may be open at a time."""
        return {"Jobs": self.open_jobs, "Releases": self.open_releases}

    @property
    def per_day(self) -> dict[str, int]:
        """How many may be made in a day."""
        return {
            "Jobs": self.jobs_per_day,
            "Releases": self.releases_per_day,
            "Approvals": self.approvals_per_day,
            "Stops": self.stops_per_day,
        }

    @property
    def per_subject(self) -> dict[str, int]:
        """How many may be made on one subject."""
        return {"Approvals": self.approvals_per_subject, "Stops": self.stops_per_subject}


class HistoryLimits(BaseModel):
    """How much that has ended a governed namespace keeps: the chart's `history`. 0: all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)

    ended_jobs: Number = 0
    ended_releases: Number = 0
    """Of those that were never approved; the others are kept forever."""


class Settings(BaseModel):
    """Every setting, named as its environment variable without the prefix ``TUNEGATE_``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system_namespace: str = "tunegate-system"
    governed: tuple[GovernedNamespace, ...] = ()
    """JSON list of `{"name", "policy"}`."""
    trainer_image: str
    operator_image: str
    engine_images: tuple[str, ...] = ()
    """JSON list of the images that may run as an engine; empty: none."""
    registry_host: str
    """`host[:port]`."""
    registry_plain_http: bool = False
    registry_auth_file: Path | None = None
    """Docker configuration with a credential of the site."""
    registry_token_key: Path | None = None
    """Private key with which the operator signs repository-scoped registry tokens."""
    registry_token_cert: Path | None = None
    registry_volume_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Where the program beside the chart's registry says what lies on its volume."""
    ledger_keys: Path | None = None
    """Folder with `key.pem`, which signs ledger and evidence, and after a rotation `previous.pem`."""
    checkpoint_records: Annotated[int, Field(ge=1)] = 100
    checkpoint_minutes: Annotated[int, Field(ge=1)] = 10
    """So many records, or a record that old, make the next checkpoint due."""
    reread_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    """Between two readings of the whole ledger."""
    anchor_folder: Path | None = None
    """Where checkpoints are kept outside the cluster's store."""
    anchor_bucket: str | None = None
    """S3 bucket with Object Lock where checkpoints are kept too."""
    anchor_prefix: str = "tunegate/"
    anchor_store: Path | None = None
    """Folder with the address of the bucket's store and the key to it."""
    anchor_days: Annotated[int, Field(ge=1)] = 3650
    """For how long each checkpoint in the bucket is locked."""
    anchor_syslog: Annotated[str, Field(pattern=r"^(tls|tcp|udp)://[^/:]+:[0-9]{1,5}$")] | None = None
    """Log server that gets each checkpoint as a message."""
    timestamp_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Time stamping authority (RFC 3161) that stamps checkpoints."""
    timestamp_roots: Path | None = None
    """The authority's certificate and those above it, as PEM."""
    ca_file: Path | None = None
    expose_domains: tuple[str, ...] = ()
    """Domains under which hosts may lead to servers from outside; none: servers are reached within the cluster only."""
    hub_endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Hub mirror of base models that name none."""
    mlflow_uri: str | None = None
    mlflow_user_file: Path | None = None
    mlflow_password_file: Path | None = None
    image_pull_secrets: tuple[str, ...] = ()
    quotas: PersonLimits = PersonLimits()
    """JSON object: how much one person may ask and decide."""
    history: HistoryLimits = HistoryLimits()
    """JSON object: how many ended jobs and releases a namespace keeps."""
    lease_name: str = "tunegate-operator"
    lease_duration_seconds: Annotated[int, Field(ge=3)] = 15
    """How long a standby waits after the holder's last sign of life."""
    lease_renew_deadline_seconds: Annotated[int, Field(ge=2)] = 10
    """How long the holder tries to renew before it stops acting; less than the duration."""
    lease_retry_seconds: Annotated[int, Field(ge=1)] = 2
    log_level: str = "INFO"
    resync_seconds: Annotated[float, Field(gt=0)] = 300.0
    admission_rules: Path | None = None
    """The chart's admission policies as YAML; absent: nobody looks whether they are in force."""
    admission_seconds: Annotated[float, Field(gt=0, le=30)] = 20.0
    """Between two looks at them."""
    powers_seconds: Annotated[float, Field(ge=0)] = 600.0
    """Between two looks at who could get around the rules by RBAC; 0: nobody looks."""
    workers: Annotated[int, Field(ge=1, le=64)] = 4
    """Objects reconciled at the same time, per controller."""
    http_port: int = 8080
    kubeconfig: str | None = None
    """Absent: the pod's own service account."""

    @field_validator("governed", "image_pull_secrets", "engine_images", "expose_domains", mode="before")
    @classmethod
    def _parse_json(cls, value: Any) -> Any:
        return json.loads(value or "[]") if isinstance(value, str) else value

    @field_validator("quotas", "history", mode="before")
    @classmethod
    def _parse_object(cls, value: Any) -> Any:
        return json.loads(value or "{}") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _stop_before_others_start(self) -> Self:
        if not self.lease_retry_seconds < self.lease_renew_deadline_seconds < self.lease_duration_seconds:
            raise ValueError("LEASE_RETRY_SECONDS < LEASE_RENEW_DEADLINE_SECONDS < LEASE_DURATION_SECONDS must hold")
        return self

    @model_validator(mode="after")
    def _anchors_fit_together(self) -> Self:
        if (self.anchor_bucket is None) != (self.anchor_store is None):
            raise ValueError("ANCHOR_BUCKET and ANCHOR_STORE belong together")
        if (self.timestamp_url is None) != (self.timestamp_roots is None):
            raise ValueError("TIMESTAMP_URL and TIMESTAMP_ROOTS belong together")
        if self.timestamp_url is not None and self.anchor_folder is None and self.anchor_bucket is None:
            raise ValueError("TIMESTAMP_URL needs ANCHOR_FOLDER or ANCHOR_BUCKET, where its tokens are kept")
        return self

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Names of the governed namespaces."""
        return tuple(entry.name for entry in self.governed)

    def policy_of(self, namespace: str) -> str | None:
        """Return the name of the ApprovalPolicy of a governed namespace, None for any other namespace."""
        return next((entry.policy for entry in self.governed if entry.name == namespace), None)


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. An empty variable counts as absent. Raises ``Terminal`` naming the variable at fault.

    A variable with the prefix that is no setting is refused: it is a misspelled one, which would otherwise do nothing.
    """
    source = os.environ if environment is None else environment
    names = {PREFIX + field.upper(): field for field in Settings.model_fields}
    if unknown := unknown_variables(source, names):
        raise Terminal("BadSettings", f"settings are wrong: {' '.join(unknown)}")
    values = {names[key]: value for key, value in source.items() if key in names and value != ""}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(entry["loc"], entry["msg"]) for entry in error.errors())
        raise Terminal("BadSettings", f"settings are wrong: {problems}") from error
    except ValueError as error:
        raise Terminal("BadSettings", f"settings are wrong: {error}") from error


def _problem(location: tuple[int | str, ...], message: str) -> str:
    variable = "_".join(str(part) for part in location).upper()
    return f"{PREFIX}{variable}: {message}" if variable else message
