"""Room for bodies in memory: a few at a time, at most half of them one caller's, so that slow uploads hold up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tunegate.gateway.access import share_of


@dataclass
class _Share:
    """The places of one share, while somebody has or wants one."""

    places: asyncio.Semaphore
    callers: int = field(default=0)


class Places:
    """Places in memory, by share: each person by name, the programs of a namespace together."""

    def __init__(self, places: int) -> None:
        self._all = asyncio.Semaphore(places)
        self._each = max(1, places // 2)
        self._shares: dict[str, _Share] = {}

    @asynccontextmanager
    async def taken(self, username: str) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        name = share_of(username)
        share = self._shares.setdefault(name, _Share(asyncio.Semaphore(self._each)))
        share.callers += 1
        try:
            async with share.places, self._all:
                yield
        finally:
            share.callers -= 1
            if not share.callers:
                del self._shares[name]
