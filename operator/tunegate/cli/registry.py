"""The registry as one person sees it: the credential of a file, and errors in plain words."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunegate.cli.failure import CommandFailure
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import RegistryError


def add_options(one: ArgumentParser, help_text: str, *, required: bool = False) -> None:
    """Add the options that say where the registry is and who asks."""
    one.add_argument("--registry", metavar="HOST", required=required, help=help_text)
    one.add_argument("--registry-auth", metavar="FILE", help="Docker configuration; default: your own")
    one.add_argument("--registry-ca", metavar="FILE", help="PEM authority of the registry")
    one.add_argument("--registry-plain-http", action="store_true")


@contextmanager
def opened(options: Namespace) -> Iterator[RegistryClient]:
    """Open the registry that the options name. Raises ``CommandFailure`` for whatever it refuses."""
    auth = Path(options.registry_auth) if options.registry_auth else default_auth_file()
    try:
        with RegistryClient(
            options.registry,
            plain_http=options.registry_plain_http,
            auth_file=auth if auth.exists() else None,
            ca_file=Path(options.registry_ca) if options.registry_ca else None,
        ) as registry:
            yield registry
    except RegistryError as error:
        raise CommandFailure(f"the registry: {error}") from error


def default_auth_file() -> Path:
    """Return where docker, podman and helm keep registry credentials of this person."""
    return Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
