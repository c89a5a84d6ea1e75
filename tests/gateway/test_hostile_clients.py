"""What one client can do to the others: a real gateway process, asked by clients with different credentials."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.fuzzing import fuzz
from tests.gateway.standins import KEY, OTHER_KEY, Apart, apart, scene, until
from tunegate.gateway.settings import Limits

HELLO = [{"role": "user", "content": "Hello"}]
MEBIBYTE = 1024 * 1024


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as running:
        yield running


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "extract", "messages": HELLO, **fields}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def structured(**constraint: Any) -> dict[str, Any]:
    return chat(structured_outputs=constraint)


def properties(count: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{index}": {"type": "string"} for index in range(count)}}


@pytest.mark.attack(54)
async def test_no_client_chooses_how_its_body_is_decoded(gateway: Apart) -> None:
    for charset in CHARSETS:
        await _decoded_by(gateway, charset)


CHARSETS = ["punycode", "utf-16", "idna", "unicode_escape", "utf-8-sig", "zlib", "nonsense"]


async def _decoded_by(gateway: Apart, charset: str) -> None:
    body = b"a" * (MEBIBYTE // 2 - 100) + b"-" + b"a" * (MEBIBYTE // 2 - 100)
    asking = asyncio.create_task(gateway.post(body, headers={"Content-Type": f"application/json; charset={charset}"}))
    async with gateway.http.get(f"{gateway.url}/healthz", timeout=aiohttp.ClientTimeout(total=10)) as answer:
        assert answer.status == 200
    status, told = await asyncio.wait_for(asking, 10)
    assert (status, told["error"]["code"]) == (415, "unsupported_media_type")
    assert "charset=utf-8" in told["error"]["message"]
    assert (await gateway.ask(OTHER_KEY))[0] == 200


@pytest.mark.attack(54)
async def test_a_body_that_is_slow_to_read_holds_up_nobody_else(gateway: Apart) -> None:
    for body in SLOW_BODIES:
        await _a_body_that_is_slow_to_read_holds_up_nobody_else(gateway, body)


SLOW_BODIES: list[bytes] = [
    b"[" + b"[]," * 340_000 + b"[]]",
    b'{"model": "extract", "messages": [' + b"{}," * 340_000 + b"{}]}",
    b"[" * (MEBIBYTE - 10),
    b'{"a":' * 170_000,
    b'{"model": "' + b"\\u0041" * 170_000 + b'"}',
    b'{"model": "extract", "max_tokens": ' + b"9" * (MEBIBYTE - 100) + b"}",
    b"{" + b",".join(b'"%d":0' % index for index in range(90_000)) + b"}",
    b"{" + b",".join(b'"same":0' for _ in range(100_000)) + b"}",
]


async def _a_body_that_is_slow_to_read_holds_up_nobody_else(gateway: Apart, body: bytes) -> None:
    asking = [asyncio.create_task(gateway.post(body)) for _ in range(4)]
    for _ in range(5):
        assert (await asyncio.wait_for(gateway.ask(OTHER_KEY), 20))[0] == 200
    assert {status for status, _ in await asyncio.gather(*asking)} <= {400, 429}


@pytest.mark.attack(54)
async def test_compressed_bodies_are_not_taken(gateway: Apart) -> None:
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        status, told = await gateway.post(b"\x1f\x8bnot what it says", headers={"Content-Encoding": encoding})
        assert (status, told["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.attack(55)
async def test_what_would_cost_the_engine_too_much_to_compile_does_not_reach_it(gateway: Apart) -> None:
    for constraint in TOO_COSTLY:
        await _what_would_cost_the_engine_too_much_to_compile_does_not_reach_it(gateway, constraint)


TOO_COSTLY: list[dict[str, Any]] = [
    {"json": properties(5000)},
    {"json": properties(300)},
    {"json": nested(200)},
    {"json": {"enum": [f"value {index}" for index in range(100_000)]}},
    {"json": {"type": "string", "minLength": 10**9}},
    {"json": {"type": "string", "maxLength": 10_000}},
    {"json": {"type": "array", "items": {"type": "string"}, "minItems": 10**7}},
    {"json": {"type": "string", "pattern": ".?" * 32}},
    {"json": {"type": "object", "patternProperties": {"(.{0,9}){0,9}": {}}}},
    {"json": {"$ref": "#"}},
    {"json": {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}},
    {"json": {"$ref": "https://example.org/schema.json"}},
    {"json": {"not": {"type": "string"}}},
    {"json": json.dumps(properties(5000))},
    {"regex": ".{1,1000}"},
    {"regex": ".?" * 16},
    {"regex": "(.*[a-z]?)" * 40},
    {"regex": "(((((((((((((((((((((a)))))))))))))))))))))"},
    {"regex": "(?:a{1000}){1000}"},
    {"regex": "a" * 2000},
    {"choice": ["x" * MEBIBYTE]},
    {"choice": ["x"] * 2000},
    {"grammar": "root ::= [a-z]{1,100000}"},
    {"structural_tag": "{}"},
]


async def _what_would_cost_the_engine_too_much_to_compile_does_not_reach_it(
    gateway: Apart, constraint: dict[str, Any]
) -> None:
    status, told = await gateway.post(structured(**constraint))
    assert status in {400, 413}, told
    if status == 400:
        assert (told["error"]["param"] or "").startswith("structured_outputs")
    assert gateway.engine.seen == []


@pytest.mark.attack(55)
async def test_a_schema_is_bounded_wherever_it_stands(gateway: Apart) -> None:
    schema = properties(300)
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    wrapped = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    few = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "string", "maxLength": 60}}}
    many = [
        {
            "type": "function",
            "function": {"name": f"f{index}", "parameters": {"type": "string", "maxLength": 40 + index}},
        }
        for index in range(20)
    ]
    for fields in (
        {"tools": [tool]},
        {"response_format": wrapped},
        {"tools": many},
        {"tools": many[:1], "response_format": few},
    ):
        status, told = await gateway.post(chat(**fields))
        assert status == 400, fields
        assert told["error"]["code"] in {"invalid_field", "schema_too_costly"}
    assert gateway.engine.seen == []


@pytest.mark.attack(63)
async def test_nobody_asks_for_any_number_of_answers_at_once(gateway: Apart) -> None:
    for fields in TOO_MANY:
        await _nobody_asks_for_any_number_of_answers_at_once(gateway, fields)


TOO_MANY: list[dict[str, Any]] = [
    {"n": 1024},
    {"n": 129},
    {"n": 16_384},
    {"n": True},
    {"n": "2"},
    {"best_of": 100},
    {"use_beam_search": True, "n": 8},
]


async def _nobody_asks_for_any_number_of_answers_at_once(gateway: Apart, fields: dict[str, Any]) -> None:
    status, told = await gateway.post(chat(**fields))
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")
    prompts = {"model": "extract", "prompt": ["a"] * 64, "n": 100}
    status, told = await gateway.post(prompts, "/v1/completions")
    assert (status, told["error"]["code"]) == (400, "too_many_answers")
    assert gateway.engine.seen == []


@pytest.mark.attack(63)
async def test_one_client_takes_at_most_its_share_of_the_engine(tmp_path: Path) -> None:
    async with apart(tmp_path, Limits(sequences=8, queue_seconds=0.5)) as gateway:
        gateway.engine.go.clear()
        greedy = [asyncio.create_task(gateway.ask(n=2)) for _ in range(2)]
        await until(lambda: len(gateway.engine.seen) == 2, "asked twice")
        assert (await gateway.ask())[0] == 429, "two requests with two answers each are half of eight"
        other = asyncio.create_task(gateway.ask(OTHER_KEY))
        await until(lambda: len(gateway.engine.seen) == 3, "asked by the other client")
        gateway.engine.go.set()
        assert (await other)[0] == 200
        assert [status for status, _ in await asyncio.gather(*greedy)] == [200, 200]


@pytest.mark.attack(63)
async def test_structured_answers_of_one_client_leave_room_for_those_of_others(tmp_path: Path) -> None:
    async with apart(tmp_path, Limits(structured=4, queue_seconds=0.5, compile_seconds=30)) as gateway:
        gateway.engine.go.clear()
        leaving = asyncio.create_task(gateway.ask(response_format={"type": "json_object"}))
        await until(lambda: gateway.engine.seen, "asked")
        leaving.cancel()
        await asyncio.wait([leaving])
        await asyncio.wait_for(gateway.engine.aborted.wait(), 10)
        gateway.engine.go.set()
        status, _ = await gateway.ask(response_format={"type": "json_object"})
        assert status == 429, "the engine goes on compiling for a client that left"
        assert (await gateway.ask(OTHER_KEY, response_format={"type": "json_object"}))[0] == 200
        assert (await gateway.ask())[0] == 200


@pytest.mark.attack(63)
async def test_places_are_taken_before_bodies_are_read(tmp_path: Path) -> None:
    async with apart(tmp_path, Limits(places=4, queue_seconds=0.5, body_seconds=20)) as gateway:
        slow = [await _begin_body(gateway, KEY) for _ in range(2)]
        await asyncio.sleep(0.5)
        assert (await gateway.ask())[0] == 429
        assert (await gateway.ask(OTHER_KEY))[0] == 200
        for _, writer in slow:
            writer.close()


async def _begin_body(gateway: Apart, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.settings.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode())
    await writer.drain()
    return reader, writer


@pytest.mark.attack(67)
async def test_a_connection_has_only_so_long_for_the_head_of_a_request(tmp_path: Path) -> None:
    async with apart(tmp_path, Limits(head_seconds=1, idle_seconds=3)) as gateway:
        silent = await asyncio.open_connection("127.0.0.1", gateway.settings.port)
        dripping = await asyncio.open_connection("127.0.0.1", gateway.settings.port)
        dripping[1].write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
        kept = await asyncio.open_connection("127.0.0.1", gateway.settings.port)
        kept[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await kept[0].readline()).startswith(b"HTTP/1.1 200")
        drips = asyncio.create_task(_drip(dripping[1]))
        for reader, _ in (silent, dripping, kept):
            await _closed(reader)
        drips.cancel()
        assert (await gateway.ask())[0] == 200


async def _drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"X-A: b\r\n")
        await asyncio.sleep(0.2)


async def _closed(reader: asyncio.StreamReader) -> None:
    try:
        async with asyncio.timeout(20):
            while await reader.read(1000):
                pass
    except ConnectionError:
        pass


@pytest.mark.attack(67)
async def test_idle_connections_make_room_for_those_who_ask(tmp_path: Path) -> None:
    async with apart(tmp_path, Limits(connections=20, connections_each=20)) as gateway:
        idle = [await asyncio.open_connection("127.0.0.1", gateway.settings.port) for _ in range(60)]
        for _ in range(5):
            async with aiohttp.ClientSession() as fresh:
                headers = {"Authorization": f"Bearer {KEY}"}
                async with fresh.post(f"{gateway.url}/v1/chat/completions", json=chat(), headers=headers) as answer:
                    assert answer.status == 200
        assert descriptors(gateway) < 60, "connections are bounded, not only answered"
        for _, writer in idle:
            writer.close()


def descriptors(gateway: Apart) -> int:
    return len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


@pytest.mark.attack(67)
async def test_who_does_not_read_its_answer_loses_it(tmp_path: Path) -> None:
    async with apart(tmp_path, Limits(write_seconds=1)) as gateway:
        gateway.engine.padding = 6 * MEBIBYTE
        for stream in (False, True):
            body = json.dumps(chat(stream=stream)).encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.settings.port, limit=1024)
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await asyncio.sleep(4)
            status = await gateway.status()
            assert status["inFlight"] == 0
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(7 * MEBIBYTE), 10)
            writer.close()


@pytest.mark.attack(68)
async def test_no_mutated_request_gives_a_500_and_the_other_client_is_answered(gateway: Apart) -> None:
    report = await fuzz(
        gateway.url, (KEY, OTHER_KEY), ["base", "extract", "unknown"], requests=3000, seed=14, seconds=120
    )
    print(report.text())
    assert report.failures == []
    assert report.canaries_refused == 0
    assert {"200", "400", "404", "415"} <= report.statuses.keys()
    assert gateway.process.returncode is None
    assert b"Traceback" not in gateway.log.read_bytes()


@pytest.mark.attack(67)
async def test_connections_that_came_together_count_as_idle_before_the_gateway_has_turned_to_them(
    tmp_path: Path,
) -> None:
    """On a busy machine many are accepted in one go: the one that asks is the last of them, and no other has begun to wait."""
    limits = Limits(connections=4, connections_each=4, drain_delay=0.1, drain_seconds=5)
    async with scene(tmp_path, limits) as stage:
        await asyncio.sleep(0.1)
        sockets = [socket.create_connection(("127.0.0.1", stage.settings.port)) for _ in range(12)]
        sockets[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        sockets[-1].setblocking(False)
        answered = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sockets[-1], 1024), 30)
        assert answered.startswith(b"HTTP/1.1 200")
        for one in sockets:
            one.close()
