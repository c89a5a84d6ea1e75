"""The gateway's ports: every connection is watched, and nothing that aiohttp does by itself goes around the gateway's answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tunegate.gateway.connections import Connection, ConnectionWatch, Handshake
from tunegate.gateway.errors import ApiError
from tunegate.gateway.settings import Limits
from tunegate.listening import BACKLOG, listening_socket

CONTINUE = "100-continue"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def options(limits: Limits) -> dict[str, Any]:
    """Return what aiohttp is told about connections."""
    return {
        "access_log": None,
        "auto_decompress": False,
        "handler_cancellation": True,
        "keepalive_timeout": limits.idle_seconds,
        "lingering_time": 1.0,
        "max_field_size": limits.head_bytes,
        "max_headers": 64,
        "max_line_size": limits.head_bytes,
        "shutdown_timeout": 5,
    }


async def listen(
    app: web.Application,
    host: str | None,
    port: int,
    watch: ConnectionWatch,
    limits: Limits,
    tls: ssl.SSLContext | None = None,
) -> tuple[web.AppRunner, asyncio.Server]:
    """Listen on a port of ``host``, None: of every address; every connection is watched. Raises ``OSError``."""
    runner = web.AppRunner(app, **options(limits))
    await runner.setup()
    server = runner.server
    if server is None:
        raise RuntimeError("the runner was not set up")
    server.request_handler = _expecting_nothing(server.request_handler)
    loop = asyncio.get_running_loop()

    def connect() -> asyncio.Protocol:
        connection = Connection(watch, server, loop=loop, **server._kwargs)
        return connection if tls is None else Handshake(connection, tls, limits.head_seconds)

    listening = await loop.create_server(connect, sock=listening_socket(port, host), backlog=BACKLOG)
    return runner, listening


def _expecting_nothing(handle: Handler) -> Handler:
    """Refuse what a client expects beyond `100-continue`: aiohttp looks at that before any middleware, and repeats it."""

    async def checked(request: web.BaseRequest) -> web.StreamResponse:
        expected = request.headers.get("Expect", CONTINUE)
        if expected.lower() != CONTINUE:
            return ApiError(417, "expectation_failed", f"the only expectation that is met is {CONTINUE}").response()
        return await handle(request)

    return checked
