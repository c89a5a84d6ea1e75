"""A body is taken up to its limit and its deadline, whatever its sender says of its length."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tunegate.exchange.bodies import received
from tunegate.gateway.errors import ApiError

LIMIT = 1000
LONG = 60.0


@contextlib.asynccontextmanager
async def server(seconds: float) -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return web.Response(body=await received(request, LIMIT, seconds, "a question"))
        except ApiError as error:
            return error.response()

    app = web.Application()
    app.add_routes([web.post("/", answer)])
    runner = web.AppRunner(app, auto_decompress=False, lingering_time=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def answered(head: str, body: bytes, seconds: float = LONG) -> str:
    """Send what is given, keep the connection, and return the answer."""

    async def ask() -> str:
        async with server(seconds) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
            said = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONG)
            length = int(said.lower().partition(b"content-length:")[2].split()[0])
            said += await asyncio.wait_for(reader.readexactly(length), LONG)
            writer.close()
            return said.decode()

    return asyncio.run(ask())


def chunk(size: int) -> bytes:
    return f"{size:x}\r\n".encode() + b"x" * size + b"\r\n"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"Content-Length: {LIMIT}", b"x" * LIMIT),
        ("Transfer-Encoding: chunked", chunk(LIMIT - 1) + chunk(1) + b"0\r\n\r\n"),
    ],
)
def test_a_body_up_to_the_limit_is_taken_whole(head: str, body: bytes) -> None:
    said = answered(head, body)
    assert said.startswith("HTTP/1.1 200")
    assert said.endswith("x" * LIMIT)


@pytest.mark.attack(78)
@pytest.mark.parametrize(
    ("head", "body"), [(f"Content-Length: {LIMIT + 1}", b""), ("Transfer-Encoding: chunked", chunk(LIMIT) + chunk(1))]
)
def test_a_longer_body_is_refused_before_its_end_has_come(head: str, body: bytes) -> None:
    said = answered(head, body)
    assert said.startswith("HTTP/1.1 413")
    assert f"a question has at most {LIMIT} bytes" in said


@pytest.mark.attack(78)
@pytest.mark.parametrize("head", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_arrive_is_not_waited_for_any_longer(head: str) -> None:
    said = answered(head, b"", seconds=0.1)
    assert said.startswith("HTTP/1.1 408")
    assert "the body did not arrive within 0.1 s" in said
