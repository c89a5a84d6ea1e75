"""Connections of clients: bounded in number and in the time that they may do nothing.

aiohttp bounds neither the time for a request's head nor the number of connections, and waits forever for a client that
does not read. A watch looks at all connections every second instead: one loop, whatever their number.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tunegate.gateway.errors import ApiError
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.settings import Limits
from tunegate.logs import event

log = logging.getLogger("tunegate.gateway")
LOOK_SECONDS = 1.0


class Connection(RequestHandler):
    """One connection, and what the watch has to know of it. Says nothing of what it received, to nobody's log."""

    def __init__(self, watch: ConnectionWatch, manager: Any, **options: Any) -> None:
        super().__init__(manager, **options)
        self._watch = watch
        self._raw: asyncio.Transport | None = None
        self._seen_requests = 0
        self.peer = ""
        self.since = 0.0
        """When the head that is awaited began to be: with its first byte, or with the connection."""
        self.fresh = True
        """Whether bytes of a head, or the first ones at all, are awaited: the short bound holds."""
        self.stalled: tuple[int, float] | None = None
        """Bytes that the client has not read yet, and since when."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or end it at once when there is no room."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._raw = transport
        self.peer = peer_of(transport)
        self.since = self._watch.now()
        super().connection_made(transport)
        self._watch.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._watch.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note when a head begins and when it is complete."""
        super().data_received(data)
        if self._request_count != self._seen_requests:
            self._seen_requests, self.fresh, self.since = self._request_count, False, self._watch.now()
        elif self.waiting and not self.fresh:
            self.fresh, self.since = True, self._watch.now()

    @property
    def watch(self) -> ConnectionWatch:
        """Who counts this connection."""
        return self._watch

    @property
    def waiting(self) -> bool:
        """Whether no request is being handled and none is complete: also before aiohttp's own task has begun to wait."""
        return not self._messages and (self._waiter is not None or not self._request_count)

    @property
    def unread(self) -> int:
        """Bytes that wait for the client to read them."""
        return self._raw.get_write_buffer_size() if self._raw is not None else 0

    def idle_since(self) -> float | None:
        """Return since when the connection has had nothing to do; None while it has."""
        if not self.waiting:
            return None
        return self.since if self.fresh else max(self.since, self._next_keepalive_close_time - self.keepalive_timeout)

    def abort(self) -> None:
        """End the connection without waiting for the other side."""
        if self._raw is not None:
            self._raw.abort()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Say which kind of error it was: its text may quote what the client sent."""
        error = kw.get("exc_info")
        kind = type(error).__name__ if isinstance(error, BaseException) else "an error"
        log.warning("a request could not be handled: %s", kind, extra=event("RequestNotHandled", error=kind))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, without repeating any of it."""
        if status >= 500:
            self.log_exception(exc_info=exc)
            answer = ApiError(status, "internal_error", "the gateway failed at this request").response()
        else:
            log.info("a malformed request was refused", extra=event("RequestMalformed"))
            answer = ApiError(status, "malformed_request", "this is no well-formed HTTP request").response()
        answer.force_close()
        return answer


class Handshake(asyncio.Protocol):
    """A connection of a TLS port until its handshake is over: it counts from its first moment, as any other does."""

    waiting = True
    unread = 0
    fresh = True

    def __init__(self, connection: Connection, context: ssl.SSLContext, seconds: float) -> None:
        self._connection = connection
        self._context = context
        self._seconds = seconds
        self._watch = connection.watch
        self._raw: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._lost = False
        self._task: asyncio.Task[None] | None = None
        self.peer = ""
        self.since = 0.0
        self.stalled: tuple[int, float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in and begin the handshake."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._raw, self.peer, self.since = transport, peer_of(transport), self._watch.now()
        transport.pause_reading()  # Nothing that comes before the handshake is ever taken for a part of what comes after it.
        self._watch.enter(self)
        if not transport.is_closing():
            self._task = asyncio.get_running_loop().create_task(self._shake_hands(transport))

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        try:
            done = await asyncio.get_running_loop().start_tls(
                transport, self, self._context, server_side=True,
                ssl_handshake_timeout=self._seconds, ssl_shutdown_timeout=5.0,
            )  # fmt: skip
        except (OSError, ssl.SSLError):
            transport.abort()
            done = None
        finally:
            self._watch.leave(self)
        if done is None or self._lost:
            return
        done.set_protocol(self._connection)
        self._connection.connection_made(done)
        for data in self._early:
            self._connection.data_received(data)

    def data_received(self, data: bytes) -> None:
        """Keep what comes with the end of the handshake."""
        self._early.append(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._lost = True
        self._watch.leave(self)

    def idle_since(self) -> float:
        """Return since when the handshake goes on."""
        return self.since

    def abort(self) -> None:
        """End the connection."""
        if self._raw is not None:
            self._raw.abort()


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Return the address of the other side."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if name else ""


class ConnectionWatch:
    """All connections of one port."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._open: set[Connection | Handshake] = set()
        self._peers: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @staticmethod
    def now() -> float:
        """Return the loop's clock."""
        return asyncio.get_running_loop().time()

    def enter(self, new: Connection | Handshake) -> None:
        """Count a connection. When there are too many, one that does nothing goes, of the address that has most."""
        self._open.add(new)
        self._peers[new.peer] += 1
        self._metrics.connections.set(len(self._open))
        if self._peers[new.peer] > self._limits.connections_each:
            self._make_room(new, new.peer)
        elif len(self._open) > self._limits.connections:
            self._make_room(new, self._peers.most_common(1)[0][0])

    def leave(self, gone: Connection | Handshake) -> None:
        """Forget a connection."""
        if gone in self._open:
            self._open.discard(gone)
            self._peers[gone.peer] -= 1
            if not self._peers[gone.peer]:
                del self._peers[gone.peer]
            self._metrics.connections.set(len(self._open))

    def _make_room(self, new: Connection | Handshake, peer: str) -> None:
        idle = [(since, one) for one in self._open if one.peer == peer and (since := one.idle_since()) is not None]
        idle = [pair for pair in idle if pair[1] is not new]
        self._cut(min(idle, key=lambda pair: pair[0])[1] if idle else new, "too_many")

    def _cut(self, one: Connection | Handshake, reason: str) -> None:
        self._metrics.cut_connections.labels(reason).inc()
        one.abort()
        self.leave(one)

    async def watch(self) -> None:
        """Look at all connections, forever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """End every connection that oversteps a bound."""
        now = self.now()
        for one in list(self._open):
            if reason := self._overdue(one, now):
                self._cut(one, reason)

    def _overdue(self, one: Connection | Handshake, now: float) -> str:
        unread = one.unread
        if not unread:
            one.stalled = None
        elif one.stalled is None or unread < one.stalled[0]:
            one.stalled = (unread, now)
        elif now - one.stalled[1] > self._limits.write_seconds:
            return "not_read"
        since = one.idle_since()
        if since is None:
            return ""
        if one.fresh:
            return "head_too_slow" if now - since > self._limits.head_seconds else ""
        return "idle" if now - since > self._limits.idle_seconds else ""
