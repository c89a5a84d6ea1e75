"""A TCP proxy whose open connections can be made to hang, as when a node between two programs is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class StallingProxy:
    """Forwards to ``host`` and ``port``; new connections work after a stall as before it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flowing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def stall(self) -> None:
        """Let every connection that is open now hang for ever."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Listen on loopback until the block ends; gives the port."""
        self._flowing.set()
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flowing = self._flowing
        further_reader, further_writer = await asyncio.open_connection(*self._target)
        for source, target in ((reader, further_writer), (further_reader, writer)):
            task = asyncio.create_task(_copy(source, target, flowing))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            await flowing.wait()
            target.write(data)
            await target.drain()
    target.close()
