"""The person's own settings: a file that replaces options of many commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import Field, ValidationError

from tunegate.api.markers import StrictModel
from tunegate.cli.failure import CommandFailure
from tunegate.errors import wrong_fields

VARIABLE = "TUNEGATE_CONFIG"
"""Environment variable that names another file."""


Section = TypeVar("Section", bound=StrictModel)


class RegistrySettings(StrictModel):
    """The registry as this person reaches it. Paths may begin with `~`, or with a name in the file's own folder."""

    host: Annotated[str, Field(min_length=1)]
    """HOST or HOST:PORT."""
    auth_file: str | None = None
    """Docker configuration with the credential; default: the person's own."""
    ca_file: str | None = None
    """PEM certificates of the authority that signed the registry's."""
    plain_http: Annotated[bool, Field(alias="plainHTTP")] = False
    exchange: Annotated[str, Field(min_length=1)] | None = None
    """HOST:PORT of the exchange, which opens the registry for a Kubernetes token; then no authFile is needed."""
    service_account: Annotated[str, Field(min_length=1)] | None = None
    """NAME or NAMESPACE/NAME of a service account whose tokens this person may make, where their own is a certificate."""
    token_file: str | None = None
    """File with a Kubernetes token for the exchange, as a pipeline's pod has it."""


class GatewaySettings(StrictModel):
    """The servers' gateways as this person reaches them. Paths are those of the registry's settings."""

    address: Annotated[str, Field(min_length=1)] | None = None
    """`http://…` or `https://…`, in which `{server}` and `{namespace}` stand for theirs; default: inside the cluster."""
    ca_file: str | None = None
    """PEM certificates of the authority that signed the gateways'."""
    token_file: str | None = None
    """File with an API key, or with a Kubernetes token for the audience of gateways."""


class Settings(StrictModel):
    """The whole file."""

    registry: RegistrySettings | None = None
    gateway: GatewaySettings | None = None


def own_folder() -> Path:
    """Return this person's folder for settings and logins, wherever a file of settings was named."""
    return base_folder("XDG_CONFIG_HOME", ".config") / "tunegate"


def base_folder(variable: str, usual: str) -> Path:
    """Return a base folder of this person; ``usual``: below their home.

    A relative path in the variable is ignored, as the XDG Base Directory Specification says.
    """
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / usual


def path() -> Path:
    """Return where the settings are, or would be."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else own_folder() / "config.yaml"


def shown_path() -> str:
    """Return where the settings are, as a person would write it."""
    file, home = str(path()), str(Path.home())
    return file.replace(home, "~", 1) if file.startswith(home + "/") else file


def read() -> Settings:
    """Return the settings; empty ones where there is no file and none was named. Raises ``CommandFailure``."""
    file = path()
    if not file.exists() and VARIABLE not in os.environ:
        return Settings()
    try:
        return Settings.model_validate(yaml.safe_load(file.read_text()) or {})
    except OSError as error:
        raise CommandFailure(f"the settings {file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandFailure(f"the settings {file} are not YAML: {error}") from error
    except ValidationError as error:
        raise CommandFailure(f"the settings {file}: {wrong_fields(error)}") from None


def belonging(told: Section | None, field: str, typed: str | None) -> Section | None:
    """Return a section of the settings for the address in its ``field``; None where an option names another one.

    So tokens, accounts and authorities of the settings go to the address beside which they stand, and to no other.
    """
    return told if told is not None and typed in (None, getattr(told, field)) else None


def beside(name: str | None) -> Path | None:
    """Return a file that the settings name: relative to their own folder."""
    return None if name is None else path().parent / Path(name).expanduser()
