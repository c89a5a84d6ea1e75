"""MLflow as one person may see it: its pages and answers, passed on for the namespaces whose runs RBAC lets them read.

MLflow filters each answer: charts/tunegate/files/tunegate_mlflow_access.py. Nothing here writes, and nothing of the caller's
headers or cookies reaches MLflow but what pages need.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from tunegate.exchange.bodies import received
from tunegate.exchange.identity import Caller, Identity, token_of
from tunegate.exchange.places import Places
from tunegate.exchange.rights import Right
from tunegate.exchange.settings import ExchangeSettings
from tunegate.gateway.errors import ApiError
from tunegate.logs import event

log = logging.getLogger("tunegate.exchange")
PREFIX = "/mlflow/"
USER = "tunegate-exchange"
NAMESPACES_HEADER = "X-Tunegate-Namespaces"
EVERYTHING = "*"
RIGHT_SECONDS = 5.0
"""How long an answer of RBAC holds: a page asks for dozens of files. Source: docs/decisions/0015."""
MOST_CALLERS = 2000
TOLD_SECONDS = 3600.0
"""So often the log repeats that the same person reads the same namespaces."""
LARGEST_QUESTION = 1024 * 1024
QUESTION_SECONDS = 20.0
"""To receive a question."""
QUESTIONS_AT_ONCE = 16
"""Held in memory until MLflow has answered; others wait. Not the places of pushes: a page sends a dozen at a time."""
ANSWER_SECONDS = 60.0
PIECE = 64 * 1024
SENT_ON = ("Accept", "Content-Type", "If-Modified-Since", "If-None-Match")
GIVEN_BACK = ("Cache-Control", "Content-Disposition", "Content-Type", "ETag", "Last-Modified")
PREFERENCES = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.settings.telemetry.enabled_v1": "false",
    "mlflow.telemetry.info.alert.dismissed_v1": "true",
    "mlflow.workflowType_v1": '"machine_learning"',
}
"""What a browser keeps of a person's choices in MLflow, taken for those who have not chosen: pages begin with training, without an
assistant, which the server has not, and without saying that usage is collected, which it is not (MLFLOW_DISABLE_TELEMETRY)."""
_CHOOSES = (
    f"<script>for (const [name, value] of Object.entries({json.dumps(PREFERENCES)}))"
    " if (localStorage.getItem(name) === null) localStorage.setItem(name, value);</script>"
).encode()


@dataclass
class Runs:
    """The door. ``namespaces``: the governed ones."""

    uri: str
    password_file: Path
    namespaces: tuple[str, ...]
    identity: Identity
    http: aiohttp.ClientSession
    _places: Places = field(default_factory=lambda: Places(QUESTIONS_AT_ONCE))
    _rights: dict[bytes, tuple[float, str, str]] = field(default_factory=dict)
    _asking: dict[bytes, asyncio.Lock] = field(default_factory=dict)
    """A page asks for dozens of files at once: RBAC is asked for the first of them."""
    _told: dict[tuple[str, str], float] = field(default_factory=dict)

    async def shown(self, request: web.Request) -> web.StreamResponse:
        """Answer as MLflow does. Raises ``ApiError`` 401, 403, and 503 while API server or MLflow do not answer."""
        username, readable = await self._readable(request.headers.get("Authorization"))
        if request.method != "POST":
            return await self._answered(request, readable, None)
        async with self._places.taken(username):
            question = await received(request, LARGEST_QUESTION, QUESTION_SECONDS, "a question to MLflow")
            return await self._answered(request, readable, question)

    async def _answered(self, request: web.Request, readable: str, body: bytes | None) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in SENT_ON if name in request.headers}
        path = request.raw_path.removeprefix(PREFIX)
        try:
            async with self.http.request(
                request.method,
                URL(f"{self.uri.rstrip('/')}/{path}", encoded=True),
                data=body,
                headers={**headers, NAMESPACES_HEADER: readable, "Accept-Encoding": "identity"},
                auth=aiohttp.BasicAuth(USER, self.password_file.read_text().strip()),
                allow_redirects=False,
            ) as answer:
                return await _passed_on(request, answer, page=not path)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("MLflow does not answer: %s", type(error).__name__, extra=event("MlflowAway", error=str(error)))
            raise ApiError(503, "mlflow_away", "MLflow does not answer now; try again", retry_after=5) from error

    async def _readable(self, authorization: str | None) -> tuple[str, str]:
        """Return who calls, and the namespaces whose runs they may read as MLflow takes them. Raises ``ApiError`` 401, 403, 503."""
        key = hashlib.sha256(token_of(authorization).encode()).digest()
        if len(self._asking) >= MOST_CALLERS:
            self._rights.clear()
            self._asking.clear()
        async with self._asking.setdefault(key, asyncio.Lock()):
            until, username, readable = self._rights.get(key, (0.0, "", ""))
            if until <= time.monotonic():
                caller = await self.identity.caller(authorization)
                username = caller.username
                readable = await self._decided(caller)
                if not readable:
                    raise ApiError(
                        403, "not_allowed",
                        f"{username} may not get runs.tunegate.io in any governed namespace: ask the platform team for a role "
                        "that does",
                    )  # fmt: skip
                self._rights[key] = (time.monotonic() + RIGHT_SECONDS, username, readable)
        return username, readable

    async def _decided(self, caller: Caller) -> str:
        if await self.identity.allowed(caller, Right("get", "runs", "")):
            readable = EVERYTHING
        else:
            answers = await asyncio.gather(
                *(self.identity.allowed(caller, Right("get", "runs", name)) for name in self.namespaces)
            )
            readable = ",".join(sorted(name for name, may in zip(self.namespaces, answers, strict=True) if may))
        if readable and self._told.get((caller.username, readable), 0.0) <= time.monotonic():
            if len(self._told) >= MOST_CALLERS:
                self._told.clear()
            self._told[(caller.username, readable)] = time.monotonic() + TOLD_SECONDS
            log.info(
                "%s reads runs of %s", caller.username, readable,
                extra=event("RunsOpened", person=caller.username, namespaces=readable),
            )  # fmt: skip
        return readable


@asynccontextmanager
async def opened(settings: ExchangeSettings, identity: Identity) -> AsyncIterator[Runs | None]:
    """Give the door; None where the chart runs no MLflow. Raises ``OSError`` for an authority that cannot be read."""
    if settings.mlflow_uri is None or settings.mlflow_password_file is None:
        yield None
        return
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        context.load_verify_locations(cafile=str(settings.ca_file))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=64),
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=5),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as http:
        yield Runs(settings.mlflow_uri, settings.mlflow_password_file, settings.namespaces, identity, http)


async def _passed_on(request: web.Request, answer: aiohttp.ClientResponse, *, page: bool) -> web.StreamResponse:
    if answer.status in (401, 407):
        raise ApiError(
            503, "mlflow_away", "MLflow does not take the exchange's password yet; try again", retry_after=30
        )
    headers = {name: answer.headers[name] for name in GIVEN_BACK if name in answer.headers}
    headers.setdefault("Cache-Control", "no-store")
    headers |= {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
    if page and answer.status == 200 and answer.content_type == "text/html":
        text = (await answer.read()).replace(b"<head>", b"<head>" + _CHOOSES, 1)
        kept = {name: value for name, value in headers.items() if name not in ("ETag", "Last-Modified")}
        return web.Response(body=text, headers={**kept, "Cache-Control": "no-store"})
    response = web.StreamResponse(status=answer.status, headers=headers)
    if answer.content_length is not None:
        response.content_length = answer.content_length
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_chunked(PIECE):
            await response.write(piece)
        await response.write_eof()
    except (aiohttp.ClientError, TimeoutError, OSError):
        # The answer has begun: only an end of the connection tells the caller that it is not whole.
        if request.transport is not None:
            request.transport.abort()
    return response
