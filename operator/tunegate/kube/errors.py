"""HTTP answers of the API server as the three classes that reconcilers know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from kubernetes.aio.client.exceptions import ApiException

from tunegate.errors import Terminal, Transient

TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
"""What the HTTP client raises when no answer came at all."""


class Conflict(Transient):
    """Somebody else wrote in between (409): read again and try at once."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=0.0)


class AlreadyExists(Transient):
    """The object to create exists (409 on create)."""


class NotFound(Transient):
    """The object, its namespace or its kind does not exist (yet)."""


class NotLeading(Transient):
    """This process does not hold the Lease any more, so the request was not sent: another one may act now."""


class Refused(Terminal):
    """The API server refused the request (400, 403, 405, 422): schema, admission or RBAC says no."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.code = code


def mapped(error: ApiException, doing: str) -> Transient | Terminal:
    """Return the error to raise for an API server's answer. ``doing`` names the request for people."""
    body = _status_body(error.body)
    code = int(error.status or 0)
    reason = str(body.get("reason") or error.reason or "")
    message = f"{doing}: {body.get('message') or error.reason or 'no answer'} ({code})"
    if code == 404:
        return NotFound(message)
    if code == 409:
        return AlreadyExists(message) if reason == "AlreadyExists" else Conflict(message)
    if code in (400, 403, 405, 406, 413, 415, 422):
        return Refused(code, reason or "Refused", message)
    return Transient(message, retry_after=_retry_after(error))


def unreachable(error: BaseException, doing: str) -> Transient:
    """Return the error for a request that got no answer."""
    return Transient(f"{doing}: {type(error).__name__} {error}".rstrip())


def _status_body(body: Any) -> Mapping[str, Any]:
    if isinstance(body, bytes):
        body = body.decode(errors="replace")
    try:
        document = json.loads(body) if body else {}
    except ValueError:
        return {"message": str(body)[:500]}
    return document if isinstance(document, dict) else {}


def _retry_after(error: ApiException) -> float | None:
    value = (error.headers or {}).get("Retry-After")
    return float(value) if value and value.isdigit() else None
