"""The clients: HTTP/1.1 over kept connections, with as little work as can be, since it runs beside what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """Where to ask, and as whom."""

    port: int
    model: str
    key: str = ""

    def request(self, text: str, stream: bool) -> bytes:
        """Return a whole request."""
        body = json.dumps({
            "model": self.model, "messages": [{"role": "user", "content": text}], "stream": stream, "max_tokens": 256,
        }).encode()  # fmt: skip
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Failed(Exception):
    """A request was not answered with 200."""


class Client:
    """One kept connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._target.port, limit=2**20)

    def close(self) -> None:
        """Leave."""
        if self._writer is not None:
            self._writer.close()

    async def ask(self, text: str = "Hello") -> None:
        """Ask for a whole answer. Raises ``Failed``."""
        reader = await self._send(text, False)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise Failed(head.decode())
        if b"content-length:" in head:
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        else:
            await self._rest(reader)

    async def stream(self, text: str = "Hello", holds: bool = False) -> int:
        """Ask for a stream and return its events; with ``holds`` return when the first one is here. Raises ``Failed``."""
        reader = await self._send(text, True)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failed(head.decode())
        if holds:
            await reader.readuntil(b"\n\n")
            return 1
        return await self._rest(reader)

    async def _send(self, text: str, stream: bool) -> asyncio.StreamReader:
        if self._reader is None or self._writer is None:
            raise RuntimeError("not open")
        self._writer.write(self._target.request(text, stream))
        return self._reader

    @staticmethod
    async def _rest(reader: asyncio.StreamReader) -> int:
        events, last = 0, b""
        while not last.endswith(END):
            piece = await reader.read(2**18)
            if not piece:
                raise Failed("the connection ended")
            events += piece.count(b"data: ")
            last = (last + piece)[-8:]
        return events


async def latencies(target: Target, requests: int) -> list[float]:
    """Return the seconds of each of ``requests``, one after the other."""
    client = Client(target)
    await client.open()
    await client.ask()
    found = []
    for _ in range(requests):
        begun = time.perf_counter()
        await client.ask()
        found.append(time.perf_counter() - begun)
    client.close()
    return found


async def per_second(target: Target, clients: int, seconds: float) -> float:
    """Return whole answers a second with so many clients."""
    until = time.perf_counter() + seconds

    async def one() -> int:
        client, count = Client(target), 0
        await client.open()
        while time.perf_counter() < until:
            await client.ask()
            count += 1
        client.close()
        return count

    begun = time.perf_counter()
    return sum(await asyncio.gather(*(one() for _ in range(clients)))) / (time.perf_counter() - begun)


async def tokens_per_second(target: Target, streams: int, rounds: int) -> float:
    """Return events a second over all of ``streams`` at once, each asked ``rounds`` times."""

    async def one() -> int:
        client = Client(target)
        await client.open()
        events = sum([await client.stream() for _ in range(rounds)])
        client.close()
        return events

    begun = time.perf_counter()
    return sum(await asyncio.gather(*(one() for _ in range(streams)))) / (time.perf_counter() - begun)


async def hold(target: Target, streams: int, text: str) -> list[Client]:
    """Begin streams that write nothing after their first token, a hundred at a time."""
    clients = [Client(target) for _ in range(streams)]

    async def one(client: Client) -> None:
        await client.open()
        await client.stream(text, holds=True)

    for first in range(0, streams, 100):
        await asyncio.gather(*(one(client) for client in clients[first : first + 100]))
    return clients
