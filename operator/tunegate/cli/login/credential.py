"""`tunegate credential`: the token of a login for kubectl and other clients, renewed where it has run out.

Form: `client.authentication.k8s.io/v1`. It asks nothing and opens nothing: signing in is `tunegate login`.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tunegate.cli.failure import CommandFailure, Unreachable, WrongUsage
from tunegate.cli.login import kept
from tunegate.cli.login.provider import Client, Provider, Refused, Tokens

NAME = "credential"
VERSION = "client.authentication.k8s.io/v1"
LEAST_SECONDS = 30.0
"""A token that ends sooner is renewed first."""


def add_options(parser: ArgumentParser, *, required: bool) -> None:
    """Add the options that name a provider and a client of it."""
    add = parser.add_argument
    add("--issuer", metavar="URL", required=required, help="the OpenID provider, as the API server has it")
    add("--client-id", metavar="ID", required=required, help="what the provider calls this program")
    authority = parser.add_mutually_exclusive_group().add_argument
    authority("--issuer-ca", metavar="FILE", help="PEM authority of the provider; default: those of the system")
    authority("--issuer-ca-data", metavar="BASE64", help="the same, as a kubeconfig has it")
    add("--scope", action="append", metavar="SCOPE", help="beside openid; default: what the provider knows")


def given(options: Namespace) -> bool:
    """Tell whether any option names a provider, or a client of it."""
    return any((options.issuer, options.client_id, options.issuer_ca, options.issuer_ca_data, options.scope))


def client_of(options: Namespace) -> Client:
    """Return the client that options name. Raises ``WrongUsage``."""
    return Client(options.issuer, options.client_id, _authority(options), tuple(options.scope or ()))


def _authority(options: Namespace) -> str | None:
    try:
        if options.issuer_ca_data:
            return base64.b64decode(options.issuer_ca_data, validate=True).decode()
        return Path(options.issuer_ca).expanduser().read_text() if options.issuer_ca else None
    except OSError as error:
        raise WrongUsage(f"--issuer-ca {options.issuer_ca} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise WrongUsage("--issuer-ca is no PEM certificate") from error


def words(client: Client) -> list[str]:
    """Return the command by which a kubeconfig names a login: without files, so that it can be handed out."""
    authority = ["--issuer-ca-data", base64.b64encode(client.authority.encode()).decode()] if client.authority else []
    scopes = [word for scope in client.scopes for word in ("--scope", scope)]
    return [NAME, "--issuer", client.issuer, "--client-id", client.client_id, *authority, *scopes]


def parsed(arguments: Sequence[str]) -> Client | None:
    """Return the client of such a command; None for another command."""
    if NAME not in arguments:
        return None
    parser = ArgumentParser(exit_on_error=False, add_help=False)
    add_options(parser, required=True)
    try:
        options, _ = parser.parse_known_args(list(arguments)[list(arguments).index(NAME) + 1 :])
    except (argparse.ArgumentError, SystemExit):
        return None
    return client_of(options)


def credential(options: Namespace) -> int:
    """Print the ExecCredential."""
    tokens = current(client_of(options))
    ends = datetime.fromtimestamp(tokens.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"token": tokens.id_token, "expirationTimestamp": ends}
    print(json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status}))
    return 0


def current(client: Client) -> Tokens:
    """Return tokens that hold for a while, or their last seconds where the provider does not answer.

    Raises ``CommandFailure`` where signing in again is needed.
    """
    with kept.locked(client):
        tokens = kept.read(client)
        if tokens is None:
            raise CommandFailure(f"you are not signed in at {client.issuer}: run `tunegate login`")
        if tokens.expires - time.time() >= LEAST_SECONDS:
            return tokens
        if tokens.refresh_token is None:
            if tokens.expires > time.time():
                return tokens
            raise CommandFailure(f"your login at {client.issuer} has expired: run `tunegate login`")
        provider = Provider(client)
        try:
            fresh = provider.refreshed(tokens)
        except Refused as refused:
            raise CommandFailure(f"your login has ended: {refused}. Run `tunegate login`") from refused
        except Unreachable:
            if tokens.expires > time.time():
                return tokens
            raise
        finally:
            provider.close()
        kept.write(client, fresh)
        return fresh


def main(arguments: Sequence[str]) -> int:
    """Run the command alone: kubectl runs it before each request, and the other commands need a second to load."""
    parser = ArgumentParser(prog=f"tunegate {NAME}")
    add_options(parser, required=True)
    try:
        return credential(parser.parse_args(list(arguments)))
    except CommandFailure as error:
        print(f"tunegate: {error}", file=sys.stderr)
        return 1
