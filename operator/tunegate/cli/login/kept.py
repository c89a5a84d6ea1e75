"""Where a login is kept: one file for each provider and client, in the person's own folder, which only they may read."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tunegate.cli import config
from tunegate.cli.failure import CommandFailure
from tunegate.cli.login.provider import Client, Tokens

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def folder() -> Path:
    """Return the folder of all logins, made for its owner only."""
    place = config.own_folder() / "logins"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailure(f"{place} cannot be made: {error.strerror}") from error
    return place


def file(client: Client) -> Path:
    """Return where a client's login is, or would be."""
    name = json.dumps([client.issuer, client.client_id, sorted(client.scopes)])
    return folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def read(client: Client) -> Tokens | None:
    """Return the tokens, or None where nobody is signed in. Raises ``CommandFailure`` for a file that others may read."""
    place = file(client)
    try:
        with place.open() as stream:
            if os.fstat(stream.fileno()).st_mode & OTHERS:
                raise CommandFailure(f"others may read {place}, which holds your login: chmod 600 {place}")
            told = json.load(stream)
        refresh = told["refreshToken"]
        return Tokens(str(told["idToken"]), str(refresh) if refresh else None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandFailure(f"{place} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        return None  # of another form, or half written by a machine that stopped: signing in writes it again


def write(client: Client, tokens: Tokens) -> None:
    """Keep the tokens: whole or not at all."""
    place = file(client)
    told = {
        "issuer": client.issuer, "clientID": client.client_id,
        "idToken": tokens.id_token, "refreshToken": tokens.refresh_token,
    }  # fmt: skip
    replace(place, json.dumps(told))


def remove(client: Client) -> None:
    """Forget the tokens. Raises ``CommandFailure``."""
    place = file(client)
    try:
        place.unlink(missing_ok=True)
    except OSError as error:
        raise CommandFailure(f"{place}, which holds your login, cannot be deleted: {error.strerror}") from error


@contextmanager
def locked(client: Client) -> Iterator[None]:
    """Let no other process renew this login meanwhile: a provider may end a login whose refresh token comes twice.

    Raises ``CommandFailure``.
    """
    place = file(client).with_suffix(".lock")
    with ExitStack() as opened:
        try:
            stream = opened.enter_context(place.open("w"))
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            raise CommandFailure(f"{place} cannot be locked: {error.strerror}") from error
        yield


def replace(place: Path, text: str) -> None:
    """Write a file that only its owner may read in one step; a link stays, and what it leads to is written.

    Raises ``CommandFailure``.
    """
    with ExitStack() as undone:
        try:
            target = place.resolve()
            with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".new-", delete=False) as stream:
                fresh = Path(stream.name)  # made for its owner only
                undone.callback(fresh.unlink, missing_ok=True)
                stream.write(text)
            fresh.replace(target)
        except OSError as error:
            raise CommandFailure(f"{place} cannot be written: {error.strerror}") from error
        except RuntimeError as error:  # before Python 3.13
            raise CommandFailure(f"{place} cannot be written: it is a link that leads to itself") from error
