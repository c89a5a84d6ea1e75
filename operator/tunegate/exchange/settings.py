"""Settings of the exchange: read once from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tunegate.environment import PREFIX, unknown_variables
from tunegate.errors import Terminal, wrong_fields

GIB = 1024**3


class ExchangeSettings(BaseModel):
    """Every setting, named as its environment variable without the prefix ``TUNEGATE_``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespaces: tuple[str, ...] = ()
    """Governed namespaces, separated by commas: data is pushed to no other."""
    registry_host: str | None = None
    """Absent: a registry of the site, which the exchange does not open."""
    registry_plain_http: bool = False
    registry_token_key: Path | None = None
    registry_token_cert: Path | None = None
    mlflow_uri: str | None = None
    """The chart's own MLflow; absent: none, or one of the site, which has rights of its own."""
    mlflow_password_file: Path | None = None
    ca_file: Path | None = None
    tls: Path | None = None
    """Folder with `tls.crt` and `tls.key`; absent only in tests."""
    host: str | None = None
    """Address to listen on; absent: all."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8443
    gibibytes_per_push: Annotated[float, Field(gt=0, le=32)] = 5
    gibibytes_per_day: Annotated[float, Field(gt=0)] = 20
    """Of one person, or of the programs of one namespace."""
    pushes_per_namespace: Annotated[int, Field(ge=1)] = 1000
    """Pushes of each kind that a namespace may have, withdrawn ones included."""
    kubeconfig: str | None = None
    """Absent: the pod's own service account."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        registry = (self.registry_host, self.registry_token_key, self.registry_token_cert)
        if any(registry) and not all(registry):
            raise ValueError("registry_host, registry_token_key and registry_token_cert belong together")
        if (self.mlflow_uri is None) != (self.mlflow_password_file is None):
            raise ValueError("mlflow_uri and mlflow_password_file belong together")
        return self

    @property
    def max_bytes(self) -> int:
        """Of one push of training data."""
        return int(self.gibibytes_per_push * GIB)

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name for name in value.split(",") if name) if isinstance(value, str) else value


def from_environment(environment: Mapping[str, str] | None = None) -> ExchangeSettings:
    """Read the settings. Raises ``Terminal`` for a variable that is wrong or that nobody knows."""
    source = os.environ if environment is None else environment
    names = {PREFIX + field.upper(): field for field in ExchangeSettings.model_fields}
    if unknown := unknown_variables(source, names):
        raise Terminal("BadSettings", f"settings are wrong: {' '.join(unknown)}")
    try:
        return ExchangeSettings.model_validate({names[key]: source[key] for key in names if source.get(key)})
    except ValidationError as error:
        raise Terminal("BadSettings", f"settings are wrong: {wrong_fields(error)}") from error
