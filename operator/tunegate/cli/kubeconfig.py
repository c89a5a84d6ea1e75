"""The kubeconfig as kubectl reads it: which server, which namespace, and what proves who calls.

Read here and not by the `kubernetes` library, which is 75 MB of models for these few fields. Its form is that of
`k8s.io/client-go/tools/clientcmd/api/v1`; files are merged as kubectl merges them: of two entries of one name, the first.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunegate.cli.credentials import NO_PROOF, Credentials, Plugin, Proof
from tunegate.cli.failure import CommandFailure

Json = dict[str, Any]
VARIABLE = "KUBECONFIG"
PATHS = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
    "contexts": (),
}  # fmt: skip
"""Fields that name a file, relative to the folder of the kubeconfig that they stand in."""
INNER = {"clusters": "cluster", "users": "user", "contexts": "context"}


@dataclass(frozen=True)
class Connection:
    """How to reach an API server, and as whom."""

    server: str
    namespace: str
    trust: ssl.SSLContext
    credentials: Credentials
    proxy: str | None = None


def connection(path: str | None = None, context: str | None = None, token: str | None = None) -> Connection:
    """Return what the kubeconfig says; ``path`` and ``context`` are used instead of its own choice.

    ``token`` proves who calls, in place of everything that the kubeconfig has for that. Raises ``CommandFailure`` when it cannot be used.
    """
    named, cluster, user = chosen(path, context)
    user = user if token is None else {"token": token}
    if not cluster.get("server"):
        raise _unusable(f"cluster {named['cluster']} has no server")
    plugin = Plugin.of(user["exec"], _shown(cluster)) if user.get("exec") else None
    if user.get("auth-provider"):
        raise _unusable(f"user {named['user']} logs in by an auth-provider, which kubectl dropped too: use exec")
    proof = plugin.run() if plugin else NO_PROOF
    trust = _trust(cluster)
    _show_certificate(trust, user, proof)
    return Connection(
        server=str(cluster["server"]),
        namespace=str(named.get("namespace") or "default"),
        trust=trust,
        credentials=Credentials(_authorization(user, proof), plugin, cluster.get("tls-server-name"), proof.expires),
        proxy=cluster.get("proxy-url"),
    )


def chosen(path: str | None = None, context: str | None = None) -> tuple[Json, Json, Json]:
    """Return the context that is used, its cluster and its user. Raises ``CommandFailure`` where there is none."""
    config = _merged(_files(path))
    name = context or config["current-context"]
    if not name:
        raise _unusable("it has no current-context: give --context")
    named = _entry(config, "contexts", name, "--context")
    cluster = _entry(config, "clusters", str(named.get("cluster") or ""), f"context {name}")
    user = _entry(config, "users", str(named["user"]), f"context {name}") if named.get("user") else {}
    return named, cluster, user


def _unusable(why: str) -> CommandFailure:
    return CommandFailure(f"no usable kubeconfig: {why}. Set {VARIABLE} or give --kubeconfig")


def _files(path: str | None) -> list[Path]:
    """Return the files that there are; one that was named alone must be there."""
    if path:
        return [Path(path).expanduser()]
    named = [Path(name).expanduser() for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    files = named or [Path.home() / ".kube/config"]
    found = [file for file in files if file.exists()]
    if not found:
        raise _unusable(f"there is no file {', '.join(map(str, files))}")
    return found


def _merged(files: list[Path]) -> Json:
    merged: Json = {"current-context": "", **{kind: {} for kind in INNER}}
    for file in files:
        document = read(file)
        merged["current-context"] = merged["current-context"] or str(document.get("current-context") or "")
        for kind, inner in INNER.items():
            for entry in document.get(kind) or []:
                merged[kind].setdefault(str(entry.get("name")), _beside(entry.get(inner) or {}, kind, file.parent))
    return merged


def read(file: Path) -> Json:
    """Return the content of one file. Raises ``CommandFailure`` for one that is no kubeconfig."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise _unusable(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _unusable(f"{file} is not YAML") from error
    lists = (document.get(kind) or [] for kind in INNER) if isinstance(document, dict) else [None]
    if not all(isinstance(entries, list) and all(isinstance(one, dict) for one in entries) for entries in lists):
        raise _unusable(f"{file} is not a kubeconfig")
    return dict(document)


def _beside(entry: Json, kind: str, folder: Path) -> Json:
    """Return an entry with its files found from anywhere."""
    paths = {name: str(folder / Path(entry[name]).expanduser()) for name in PATHS[kind] if entry.get(name)}
    plugin = entry.get("exec")
    if kind == "users" and isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):
        paths["exec"] = {**plugin, "command": str(folder / Path(plugin["command"]).expanduser())}  # type: ignore[assignment]
    return {**entry, **paths}


def _entry(config: Json, kind: str, name: str, who: str) -> Json:
    if name not in config[kind]:
        known = ", ".join(config[kind]) or "none"
        raise _unusable(f"{who} names {kind[:-1]} {name or 'nothing'}; it has {known}")
    return dict(config[kind][name])


def _content(entry: Mapping[str, Any], name: str) -> bytes | None:
    """Return what stands in the entry as base64, or else in the file that it names."""
    try:
        if entry.get(f"{name}-data"):
            return base64.b64decode(entry[f"{name}-data"], validate=True)
        return Path(entry[name]).read_bytes() if entry.get(name) else None
    except binascii.Error as error:
        raise _unusable(f"{name}-data is not base64") from error
    except OSError as error:
        raise _unusable(f"{entry[name]} ({name}): {error.strerror}") from error


def _shown(cluster: Json) -> Json:
    """Return a cluster as a program is told of it: with its authority's text, as kubectl does."""
    authority = _content(cluster, "certificate-authority")
    shown = {"certificate-authority-data": base64.b64encode(authority).decode()} if authority else {}
    return {**cluster, **shown}


def _trust(cluster: Json) -> ssl.SSLContext:
    authority = _content(cluster, "certificate-authority")
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    except (ssl.SSLError, ValueError) as error:
        raise _unusable("certificate-authority is no PEM certificate") from error
    # From Python 3.13 on set by default; it refuses authorities that many clusters have, and kubectl takes.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _show_certificate(trust: ssl.SSLContext, user: Json, proof: Proof) -> None:
    """Load the person's certificate, which ``ssl`` takes from a file only."""
    names = ("client-certificate", "client-key")
    given = [proof.certificate.encode(), proof.key.encode()]
    pair = given if all(given) else [_content(user, name) or b"" for name in names]
    if not all(pair):
        return
    with tempfile.NamedTemporaryFile(prefix="tunegate-") as file:  # made for its owner only
        file.write(b"\n".join(pair))
        file.flush()
        try:
            trust.load_cert_chain(file.name)
        except (ssl.SSLError, OSError) as error:
            raise _unusable("client-certificate and client-key do not belong together") from error


def _authorization(user: Json, proof: Proof) -> str | None:
    """Return the header that proves who calls; a certificate needs none."""
    if proof.token:
        return f"Bearer {proof.token}"
    kept = _content({"token": user.get("tokenFile")}, "token")
    if kept or user.get("token"):
        return f"Bearer {kept.decode().strip() if kept else user['token']}"
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return None
