"""Requests that are no good HTTP: an answer below 500 or none, and nothing of them in anything that the process writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.standins import KEY, Apart, apart

TOKEN = "header.that-must-never-be-seen-in-any-log.signature"
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
GOOD_BODY = b'{"model": "extract", "messages": [{"role": "user", "content": "Hello"}]}'


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as running:
        yield running


MALFORMED = {
    "obs-fold": HEAD + b"X-A: 1\r\n Bearer " + TOKEN.encode() + b"\r\n\r\n",
    "bare-line-feeds": HEAD.replace(b"\r\n", b"\n") + b"\n",
    "bare-carriage-return": HEAD + b"X: a\rAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n",
    "invalid-header-name": HEAD + b"Bad Header " + TOKEN.encode() + b": x\r\n\r\n",
    "no-colon": HEAD + b"Bearer " + TOKEN.encode() + b"\r\n\r\n",
    "bad-method": b"G\x00T / HTTP/1.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n",
    "token-as-method": b"Bearer " + TOKEN.encode() + b"\r\n\r\n",
    "bad-version": b"GET / HTTP/9.9\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n",
    "two-lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
    "length-and-chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    "bad-chunk": HEAD + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n" + TOKEN.encode(),
    "head-too-large": HEAD + b"X: " + TOKEN.encode() * 2000 + b"\r\n\r\n",
    "too-many-headers": HEAD + b"".join(b"X-%d: %s\r\n" % (n, TOKEN.encode()) for n in range(500)) + b"\r\n",
    "path-too-long": b"GET /" + TOKEN.encode() * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "token-in-the-path": b"GET /?key=" + TOKEN.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "not-utf-8": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xe9\xff\r\n\r\n",
    "not-utf-8-in-the-path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "nul-in-a-header": HEAD + b"X: \x00\r\n\r\n",
    "upgrade": HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + TOKEN.encode(),
    "expect": HEAD + b"Expect: " + TOKEN.encode() + b"\r\nContent-Length: 0\r\n\r\n",
    "tls-to-plain": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + TOKEN.encode(),
    "nothing-but-bytes": bytes(range(256)) * 10,
    "bad-content-type": HEAD + b"Content-Type: \xff/\xfe; charset=\xff\r\nContent-Length: 2\r\n\r\n{}",
    "bad-host": b"GET /healthz HTTP/1.1\r\nHost: [::\r\n\r\n",
    "bad-length": HEAD + b"Content-Length: -1\r\n\r\n",
    "huge-length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
}


@pytest.mark.attack(68)
async def test_malformed_requests_give_no_500_and_leave_nothing_in_the_log(gateway: Apart) -> None:
    for name, sent in MALFORMED.items():
        answered = await _exchange(gateway, sent)
        status = answered.split(b" ")[1] if answered.startswith(b"HTTP/") else b"none"
        assert status == b"none" or status < b"500", (name, answered[:300])
        assert (await gateway.ask())[0] == 200, name
    await asyncio.sleep(0.2)
    written = gateway.log.read_bytes()
    assert b"malformed" in written, "the log is where the test looks"
    for piece in (TOKEN.encode(), b"must-never", KEY.encode(), b"Traceback", b"\xff"):
        assert piece not in written


async def _exchange(gateway: Apart, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.settings.port)
    try:
        writer.write(sent)
        await writer.drain()
        writer.write_eof()
        return await asyncio.wait_for(reader.read(100_000), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.attack(68)
@pytest.mark.parametrize(
    "body",
    [
        GOOD_BODY.replace(b"Hello", b"\\ud800"), GOOD_BODY.replace(b"Hello", b"\xff"), GOOD_BODY.replace(b'"Hello"', b"NaN"),
        GOOD_BODY.replace(b'"Hello"', b"1e999"), GOOD_BODY.replace(b"Hello", b"\x00"), b"\xef\xbb\xbf" + GOOD_BODY, b"",
        b"null", b'""', b"0", GOOD_BODY[:-1], GOOD_BODY + b"x", GOOD_BODY.replace(b"extract", b"\\ud800"),
        GOOD_BODY.replace(b'"messages"', b'"\\ud800": 1, "messages"'), GOOD_BODY.replace(b"extract", b"x" * 255),
        GOOD_BODY.replace(b'"messages"', b'"stream": 1, "messages"'),
        GOOD_BODY.replace(b'"messages"', b'"stream": "true", "messages"'),
        GOOD_BODY.replace(b'"messages"', b'"model": "base", "messages"'),
        GOOD_BODY.replace(b'"messages"', b'"seed": 1e400, "messages"'),
        GOOD_BODY.replace(b'"messages"', b'"logit_bias": {"\\u0661": 1}, "messages"'),
        GOOD_BODY.replace(b'"messages"', b'"temperature": ' + b"9" * 5000 + b', "messages"'),
    ],
)  # fmt: skip
async def test_no_body_gives_a_500(gateway: Apart, body: bytes) -> None:
    status, told = await gateway.post(body)
    assert status in {400, 404}
    assert told["error"]["code"]
    assert gateway.engine.seen == []


async def test_embeddings_are_no_endpoint_of_a_server_that_generates_text(gateway: Apart) -> None:
    status, told = await gateway.post({"model": "extract", "input": "Hello"}, "/v1/embeddings")
    assert (status, told["error"]["code"]) == (404, "no_such_endpoint")
    assert "/v1/chat/completions" in told["error"]["message"]


async def test_what_ordinary_clients_send_is_taken_and_what_the_engine_does_not_need_is_left_out(
    gateway: Apart,
) -> None:
    sent: dict[str, Any] = {
        "user": "ada", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True,
        "seed": 7, "safety_identifier": "x", "prompt_cache_key": "y", "verbosity": "low", "modalities": ["text"],
        "temperature": 0.2, "top_p": 0.9, "stop": ["\n"], "logprobs": True, "top_logprobs": 3, "n": 1,
        "max_completion_tokens": 5, "frequency_penalty": None, "response_format": {"type": "text"}, "tool_choice": "none",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    }  # fmt: skip
    assert (await gateway.ask(**sent))[0] == 200
    body = gateway.engine.seen[-1][1]
    dropped = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "verbosity"}
    assert not dropped & body.keys()
    assert {"seed", "temperature", "stop", "logprobs", "tools", "max_completion_tokens"} <= body.keys()
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
        {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None, "function_call": None,
         "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]  # fmt: skip
    assert (await gateway.ask(messages=messages))[0] == 200
