"""The registry as one person sees it: named by the options, else by their settings; errors in plain words."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunegate.cli import config, exchange
from tunegate.cli.failure import CommandFailure, Forbidden
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Missing, RegistryError, Unauthorized, Unavailable, Untrusted


@dataclass(frozen=True)
class Place:
    """Where a registry is, and what opens it."""

    host: str
    auth_file: Path
    ca_file: Path | None
    plain_http: bool
    exchange: exchange.Address | None = None
    """What opens it for a Kubernetes token; goes before the file."""


class RegistryAway(CommandFailure):
    """The registry does not answer, does not let this person in, or lacks what was asked for."""


class RegistryClosed(RegistryAway):
    """The registry does not let this person in."""


class NoRegistry(CommandFailure):
    """Neither options nor settings name a registry."""


def add_options(parser: ArgumentParser, text: str) -> None:
    """Add the options that say where the registry is and what opens it; each overrides the settings."""
    group = parser.add_argument_group("registry", f"{text}. Each of these options overrides {config.shown_path()}.")
    group.add_argument("--registry", metavar="HOST")
    group.add_argument("--registry-auth", metavar="FILE", help="Docker configuration; default: your own")
    group.add_argument("--registry-ca", metavar="FILE", help="PEM authority of the registry")
    group.add_argument("--registry-plain-http", action="store_true")
    exchange.add_token_options(group)


def known(options: Namespace) -> Place | None:
    """Return the registry of options and settings, or None where neither names one. Raises ``CommandFailure``."""
    told = config.read().registry
    host = options.registry or (told.host if told else None)
    if host is None:
        return None
    same = config.belonging(told, "host", options.registry)
    auth = Path(options.registry_auth) if options.registry_auth else config.beside(same.auth_file if same else None)
    authority = Path(options.registry_ca) if options.registry_ca else config.beside(same.ca_file if same else None)
    plain = options.registry_plain_http or bool(same and same.plain_http)
    opening = exchange.known(options) if same is not None and not options.registry_auth else None
    return Place(host, auth or _docker_config(), authority, plain, opening)


@contextmanager
def opened(options: Namespace, instead: str = "") -> Iterator[RegistryClient]:
    """Open the registry. Raises ``CommandFailure`` where none is known, and for whatever it refuses.

    ``instead``: the command that shows a part without the registry.
    """
    place = known(options)
    if place is None:
        raise NoRegistry(
            f"which registry? Give --registry HOST, or name it once in {config.shown_path()}: "
            "registry: {host: HOST, authFile: auth.json, caFile: ca.crt}"
        )
    try:
        with opened_at(place) as client:
            yield client
    except RegistryAway as error:
        if not instead:
            raise
        raise RegistryAway(f"{error}. What stands in the cluster is shown by: {instead}") from error


@contextmanager
def opened_at(place: Place) -> Iterator[RegistryClient]:
    """Open a registry. Raises ``RegistryAway``, or another ``CommandFailure`` for content that is not what it must be."""

    def token(repository: str) -> str:
        if opening is None:
            raise AssertionError("without an exchange nobody asks for its tokens")
        try:
            return opening.registry_token(repository)
        except exchange.TokenRefused as error:
            raise RegistryAway(str(error)) from error
        except Forbidden as error:
            raise RegistryClosed(str(error)) from error
        except CommandFailure as error:  # no token to show, no answer: its words say which
            raise RegistryAway(str(error)) from error

    opening = exchange.Exchange(place.exchange) if place.exchange is not None else None
    try:
        with (
            in_plain_words(),
            RegistryClient(
                place.host,
                plain_http=place.plain_http,
                auth_file=place.auth_file if place.auth_file.exists() else None,
                ca_file=place.ca_file,
                token_source=token if opening is not None else None,
            ) as client,
        ):
            yield client
    finally:
        if opening is not None:
            opening.close()


@contextmanager
def in_plain_words() -> Iterator[None]:
    """Raise what the registry refuses as ``RegistryAway``, or as another ``CommandFailure``."""
    try:
        yield
    except Unauthorized as error:
        raise RegistryClosed(f"the registry: {error}") from error
    except (Unavailable, Missing) as error:
        names_one = isinstance(error, Untrusted) and error.of_authority
        hint = ". Name its authority with --registry-ca or caFile" if names_one else ""
        raise RegistryAway(f"the registry: {error}{hint}") from error
    except RegistryError as error:
        raise CommandFailure(f"the registry: {error}") from error


def _docker_config() -> Path:
    """Return where docker, podman and helm keep registry credentials of this person."""
    return Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
