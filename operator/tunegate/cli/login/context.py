"""The kubeconfig's part of a login: a context whose user is a program, in the form of `client-go/tools/clientcmd/api/v1`."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tunegate.cli import kubeconfig
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.login import credential, kept
from tunegate.cli.login.provider import Client

Json = dict[str, Any]
HINT = "tunegate signs you in here: install it, then run `tunegate login`."


def cluster(server: str, authority: Path | None) -> Json:
    """Return the kubeconfig's entry of a cluster. Raises ``WrongUsage`` for what is no address or cannot be read."""
    parts = urlsplit(server)
    if parts.scheme != "https" or not parts.hostname:
        raise WrongUsage(f"--server {server}: the address of an API server begins with https://")
    if authority is None:
        return {"server": server}
    try:
        content = authority.expanduser().read_bytes()
    except OSError as error:
        raise WrongUsage(f"--ca {authority} cannot be read: {error.strerror}") from error
    return {"server": server, "certificate-authority-data": base64.b64encode(content).decode()}


def user(client: Client) -> Json:
    """Return the entry of a user who signs in by this program."""
    command = _program()
    return {
        "exec": {
            "apiVersion": credential.VERSION, "command": command[0], "args": [*command[1:], *credential.words(client)],
            "interactiveMode": "Never", "installHint": HINT,
        }
    }  # fmt: skip


def document(name: str, entry: Json, person: Json, namespace: str | None) -> Json:
    """Return a kubeconfig with one context."""
    context = {"cluster": name, "user": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster": entry}], "users": [{"name": name, "user": person}],
        "contexts": [{"name": name, "context": context}],
    }  # fmt: skip


def file(named: str | None) -> Path:
    """Return the kubeconfig to write: that of `--kubeconfig`, else the first of the variable, else the usual one."""
    listed = [name for name in os.environ.get(kubeconfig.VARIABLE, "").split(os.pathsep) if name]
    return Path(named or (listed[0] if listed else "~/.kube/config")).expanduser()


def write(place: Path, fresh: Json) -> None:
    """Put the context into a kubeconfig. Raises ``CommandFailure`` as ``merged`` does."""
    document = merged(place, fresh)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailure(f"{place.parent} cannot be made: {error.strerror}") from error
    kept.replace(place, yaml.safe_dump(document, sort_keys=False))


def merged(place: Path, fresh: Json) -> Json:
    """Return the kubeconfig with the context in it, and everything else as it is.

    Raises ``CommandFailure`` where a context, cluster or user of that name is somebody else's.
    """
    name = fresh["current-context"]
    whole = kubeconfig.read(place) if place.exists() else {}
    for kind, inner in kubeconfig.INNER.items():
        entries = list(whole.get(kind) or [])
        old = next((entry for entry in entries if entry.get("name") == name), None)
        new = fresh[kind][0]
        if old is not None and not _replaceable(kind, old.get(inner) or {}, new[inner]):
            raise CommandFailure(
                f"{place} has a {inner} {name} of another kind, which is left alone: give --context with another name"
            )
        whole[kind] = [new if entry is old else entry for entry in entries] if old is not None else [*entries, new]
    return {**fresh, **whole, "current-context": name}


def _replaceable(kind: str, old: Json, new: Json) -> bool:
    """Tell whether an entry was written by a login to the same cluster."""
    if kind == "users":
        return any(word == credential.NAME for word in (old.get("exec") or {}).get("args") or [])
    if kind == "clusters":
        return str(old.get("server")) == str(new["server"])
    return bool((old.get("cluster"), old.get("user")) == (new["cluster"], new["user"]))


def _program() -> list[str]:
    """Return how this program was started, so that a kubeconfig starts it again."""
    own = Path(sys.argv[0])
    found = shutil.which(own.name)
    if found and own.exists() and Path(found).samefile(own):
        return [own.name]
    if own.is_file() and os.access(own, os.X_OK):
        return [str(own.absolute())]
    return [sys.executable, "-m", "tunegate.cli"]
