"""Fair shares of something scarce: places to be heard, bytes being read, answers being written.

Clients wait in one line each. Whose turn is next is decided as in start-time fair queueing (Goyal, Vin and Cheng, 1996):
every client has a tag that grows by the work it was given, and the lowest tag goes first, so that a client who asks for
much waits behind one who asks for little, and nobody waits behind the whole line of another. One client alone holds at
most its share, and each of ``k`` active clients at most the (k+1)th part, so something is always left for the next one. What
a client began while it was alone goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tunegate.gateway.errors import ApiError

ACTIVE_SECONDS = 5.0
"""Whoever had something so short a time ago is expected again, and room is kept."""


@dataclass
class _Waiting:
    units: int
    tag: float
    turn: asyncio.Future[None]


@dataclass
class _Client:
    held: int = 0
    tag: float = 0.0
    seen: float = 0.0
    """When it last asked or gave back, by the event loop's clock."""
    line: deque[_Waiting] = field(default_factory=deque)

    def active(self, since: float) -> bool:
        """Tell whether this client holds or waits for something, or did so after ``since``."""
        return bool(self.held or self.line) or self.seen > since


class Shares:
    """``total`` units, of which one client holds at most ``each``; who waits longer than ``patience`` seconds is refused."""

    def __init__(
        self, what: str, total: int, each: int, patience: float, *, line: int = 64, active: float = ACTIVE_SECONDS
    ) -> None:
        self.total = total
        self.each = max(1, min(each, total))
        self.used = 0
        self._what = what
        self._patience = patience
        self._line = line
        self._active_seconds = active
        self._clients: dict[str, _Client] = {}
        self._time = 0.0
        """Tag of whoever was served last."""
        self._cleared = 0.0
        """When those who are not active were forgotten last."""

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(len(client.line) for client in self._clients.values())

    def bound(self, each: int) -> None:
        """Let one client hold at most ``each`` from now on. What it holds already goes on."""
        self.each = max(1, min(each, self.total))

    async def take(self, name: str, units: int, work: float = 0.0) -> Callable[[], None]:
        """Wait for ``units`` and return what gives them back, once. Raises ``ApiError`` 429."""
        client = self._clients.setdefault(name, _Client())
        client.seen = _now()
        tag = max(self._time, client.tag)
        client.tag = tag + (work or units)
        units = min(units, self.each)
        mine = _Waiting(units, tag, asyncio.get_running_loop().create_future())
        if len(client.line) >= self._line:
            raise self._refusal()
        client.line.append(mine)
        self._serve()
        if not mine.turn.done():
            await self._await_turn(name, client, mine)
        return self._giver(name, client, units)

    @asynccontextmanager
    async def hold(self, name: str, units: int, work: float = 0.0) -> AsyncIterator[None]:
        """Hold ``units`` while the block runs."""
        give_back = await self.take(name, units, work)
        try:
            yield
        finally:
            give_back()

    async def _await_turn(self, name: str, client: _Client, mine: _Waiting) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await mine.turn
        except BaseException as error:
            if mine in client.line:
                client.line.remove(mine)
                self._forget()
            elif mine.turn.done() and not mine.turn.cancelled():
                self._giver(name, client, mine.units)()
            self._serve()
            if isinstance(error, TimeoutError):
                raise self._refusal() from error
            raise

    def _refusal(self) -> ApiError:
        return ApiError(
            429, "too_many_requests", f"{self._what}: no room for more of yours now; try again", retry_after=1
        )

    def _giver(self, name: str, client: _Client, units: int) -> Callable[[], None]:
        given = False

        def give_back() -> None:
            nonlocal given
            if given:
                return
            given = True
            client.held -= units
            client.seen = _now()
            self.used -= units
            self._forget()
            self._serve()

        return give_back

    def _serve(self) -> None:
        """Give to whoever's turn it is, as long as it goes."""
        most = self._most()
        while True:
            ready = [
                client
                for client in self._clients.values()
                if client.line and (not client.held or client.held + client.line[0].units <= most)
            ]
            if not ready:
                return
            client = min(ready, key=lambda one: one.line[0].tag)
            if self.used + client.line[0].units > self.total:
                return  # Whoever is first waits for enough to be free: else nobody who wants much would ever get it.
            first = client.line.popleft()
            if first.turn.cancelled():
                continue
            client.held += first.units
            self.used += first.units
            self._time = max(self._time, first.tag)
            first.turn.set_result(None)

    def _most(self) -> int:
        """Return what one client may hold now; one that holds nothing may always begin with a request of its whole share."""
        since = _now() - self._active_seconds
        active = sum(client.active(since) for client in self._clients.values())
        return self.each if active <= 1 else min(self.each, max(1, self.total // (active + 1)))

    def _forget(self) -> None:
        """Now and then forget who is not active, but for those who were given more than others so far."""
        since, crowded = _now() - self._active_seconds, len(self._clients) > 4096
        if self._cleared > since and not crowded:
            return
        self._cleared = _now()
        self._clients = {
            name: client
            for name, client in self._clients.items()
            if client.active(since) or (client.tag > self._time and not crowded)
        }


def _now() -> float:
    return asyncio.get_running_loop().time()
