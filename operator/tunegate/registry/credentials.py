"""Credentials of a Docker configuration file, and the bearer tokens of registries that delegate authentication."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tunegate.answers import request_bounded
from tunegate.api.reasons import OwnershipReason
from tunegate.errors import Terminal
from tunegate.registry.failures import Unauthorized, Unavailable

ANONYMOUS = '{"auths": {}}\n'
"""A Docker configuration that opens nothing."""
SECONDS = 10.0
"""For a whole answer of a token service."""
LARGEST_BYTES = 1024 * 1024
_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"]*)"')


@dataclass(frozen=True)
class Credential:
    """What a site gave us for one registry: a ready bearer token, or a name with its password."""

    bearer: str | None = None
    basic: str | None = None
    """Base64 of `name:password`, as in an `Authorization: Basic` header."""


def read_credential(auth_file: Path | None, host: str) -> Credential:
    """Return what ``auth_file`` (Docker's `config.json`) holds for ``host``; nothing when file or entry is missing.

    Reads `registrytoken`, `auth`, and `username` with `password`. Raises ``Unauthorized`` for a file that can't be read.
    """
    if auth_file is None or not auth_file.exists():
        return Credential()
    try:
        entries = json.loads(auth_file.read_text())["auths"]
        entry: dict[str, Any] = next((value for key, value in entries.items() if _host_of(key) == host), {})
        if entry.get("registrytoken"):
            return Credential(bearer=str(entry["registrytoken"]))
        if entry.get("auth"):
            base64.b64decode(entry["auth"], validate=True)
            return Credential(basic=str(entry["auth"]))
        if entry.get("username"):
            pair = f"{entry['username']}:{entry.get('password', '')}"
            return Credential(basic=base64.b64encode(pair.encode()).decode())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unauthorized(f"{auth_file}: not a Docker configuration file ({type(error).__name__})") from error
    return Credential()


def bearer_in(config: str, host: str) -> str | None:
    """Return the ready bearer token for ``host`` in the text of a Docker configuration; None: it holds none."""
    try:
        token = json.loads(config)["auths"][host]["registrytoken"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return token if isinstance(token, str) and token else None


def site_configuration(auth_file: Path | None) -> str:
    """Return the site's Docker configuration to hand on to pods; one that opens nothing where the site gave none.

    Raises ``Terminal`` for a file that is no Docker configuration.
    """
    if auth_file is None or not auth_file.exists():
        return ANONYMOUS
    try:
        text = auth_file.read_text()
        sound = isinstance(json.loads(text)["auths"], dict)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        sound = False
    if not sound:
        message = (
            f"the registry credential of the installation ({auth_file}) is not a Docker configuration file, JSON with `auths`: "
            "correct the Secret that registry.external.authSecret of the chart names"
        )
        raise Terminal(OwnershipReason.UNREADABLE, message)
    return text


def _host_of(key: str) -> str:
    """Docker writes `host`, `https://host` or `https://host/v2/`."""
    return urlsplit(key).netloc if "://" in key else key.split("/", 1)[0]


def answer_challenge(
    http: httpx.Client, challenge: str, credential: Credential, repository: str, actions: str, *, tls: bool
) -> str | None:
    """Return the `Authorization` header that a 401's ``challenge`` asks for, or nothing when we hold none.

    Source: distribution's token authentication specification (`Bearer realm=…,service=…,scope=…`) and RFC 7617.
    ``tls``: whether the registry is asked by TLS. A password then goes to no token service without TLS.
    Raises ``Unauthorized`` when the token service refuses or has no TLS, ``Unavailable`` when it can't be reached.
    """
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        return f"Basic {credential.basic}" if credential.basic else None
    if scheme.lower() != "bearer":
        return None
    parameters = {name.lower(): value for name, value in _PARAMETER.findall(rest)}
    realm = parameters.get("realm", "")
    if not realm.startswith(("http://", "https://")) or credential.bearer:
        return None
    if tls and credential.basic and not realm.startswith("https://"):
        raise Unauthorized(
            f"{repository}: the registry names the token service at {realm[:200]}, without TLS, and no password goes there: "
            "configure the registry with an https:// address of its token service"
        )
    query = {"scope": f"repository:{repository}:{actions}"}
    if "service" in parameters:
        query["service"] = parameters["service"]
    headers = {"Authorization": f"Basic {credential.basic}"} if credential.basic else {}
    try:
        answer = request_bounded(
            http, "GET", realm, seconds=SECONDS, largest=LARGEST_BYTES, params=query, headers=headers
        )
    except httpx.HTTPError as error:
        raise Unavailable(f"token service of {repository}: {error}") from error
    if answer.status_code >= 500:
        raise Unavailable(f"token service of {repository} answers {answer.status_code}")
    if answer.status_code != 200:
        raise Unauthorized(f"token service of {repository} answers {answer.status_code}")
    try:
        document = json.loads(answer.content)
        return f"Bearer {document.get('token') or document['access_token']}"
    except (ValueError, KeyError, AttributeError) as error:
        raise Unauthorized(f"token service of {repository} answers without a token") from error
