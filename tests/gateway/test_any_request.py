"""Whatever a client puts into path, query, headers and body: no 500, no traceback, and every error in the API's form."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.standins import KEY, Apart, apart

EXAMPLES = 400
RIGHT = {"Authorization": f"Bearer {KEY}".encode(), "Content-Type": b"application/json"}
AT_ONCE = 64 * 1024
"""Bytes that the other side has received before it closes a connection."""
NOT_NOW = {"route_closed", "engine_not_ready"}
"""Codes that come with 503: what they say is true in the scene and no failure."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    """Run a gateway process and its stand-ins while examples are sent by blocking sockets."""
    started: queue.Queue[tuple[Apart, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def run(folder: Path) -> None:
        stop = asyncio.Event()
        async with apart(folder) as running:
            started.put((running, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run(tmp_path_factory.mktemp("gateway"))))
    thread.start()
    running, loop, stop = started.get(timeout=120)
    yield running
    loop.call_soon_threadsafe(stop.set)
    thread.join()


# Text with everything that JSON can escape: lone surrogates and control characters, too.
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=20) | st.sampled_from(
    ["\ud83d", "a\udc00", "\x00"]
)
NUMBERS = st.integers() | st.sampled_from([10**400, -(2**63) - 1, 1e308, -0.0, 0.5, 3.0]) | st.floats(allow_nan=False)
LEAVES = st.none() | st.booleans() | NUMBERS | ANY_TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4), max_leaves=12
)
NAMES = st.sampled_from([
    "model", "messages", "prompt", "stream", "stream_options", "n", "max_tokens", "temperature", "stop", "logit_bias", "tools",
    "tool_choice", "response_format", "structured_outputs", "user", "metadata", "seed", "logprobs", "top_logprobs",
    "chat_template_kwargs", "best_of", "echo", "input", "instructions", "system", "text", "thinking", "include", "reasoning",
]) | ANY_TEXT  # fmt: skip
MESSAGES = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True)
class Body:
    """Bytes that are shown as briefly as they are told."""

    piece: bytes
    times: int = 1

    def __bytes__(self) -> bytes:
        return self.piece * self.times


@st.composite
def documents(draw: st.DrawFn) -> Body:
    """Return a body: an ordinary request with some other fields, nested deep, or any bytes."""
    kind = draw(st.sampled_from(["request", "request", "request", "deep", "bytes"]))
    if kind == "bytes":
        return Body(draw(st.binary(max_size=60)))
    if kind == "deep":
        opening = draw(st.sampled_from([b"[", b'{"a":', b'{"model":"base","metadata":[', b'{"messages":[{"content":[']))
        return Body(opening, draw(st.sampled_from([1, 50, 2_000, 30_000])))
    body: dict[str, Any] = {"model": draw(st.sampled_from(["base", "extract", "worthless"]) | ANY_TEXT)}
    body |= draw(
        st.sampled_from([{"messages": MESSAGES}, {"prompt": "Hello"}, {"input": "Hello"}, {"input": MESSAGES}])
    )
    body |= draw(st.dictionaries(NAMES, VALUES, max_size=3))
    return Body(json.dumps(body).encode())


SEGMENTS = st.binary(max_size=12).map(lambda raw: bytes(byte for byte in raw if byte not in b" \r\n\t"))
PATHS = st.one_of(
    st.sampled_from(
        [
            b"/v1/chat/completions",
            b"/v1/chat/completions",
            b"/v1/completions",
            b"/v1/models",
            b"/healthz",
            b"/v1/responses",
            b"/v1/messages",
        ]
    ),
    st.builds(lambda name: b"/v1/models/" + name, SEGMENTS | ANY_TEXT.map(lambda text: _percent(text))),
    st.builds(lambda path: b"/" + path, SEGMENTS),
)
VALUE_BYTES = st.binary(max_size=30).map(lambda raw: bytes(byte for byte in raw if byte not in b"\r\n\x00"))
HEADERS = st.dictionaries(
    st.sampled_from([
        "Authorization", "Content-Type", "Content-Encoding", "Accept", "Cookie", "Expect", "X-Request-Id", "Origin", "Range",
        "If-Match", "Forwarded", "Upgrade", "TE",
    ]),
    VALUE_BYTES | VALUE_BYTES.map(lambda raw: b"Bearer " + raw) | VALUE_BYTES.map(lambda raw: b"application/json;" + raw),
    max_size=3,
)  # fmt: skip


def _percent(text: str) -> bytes:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass")).encode()


@pytest.mark.attack(68)
@settings(max_examples=EXAMPLES, derandomize=True, deadline=None)
@given(
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE"]),
    path=PATHS,
    query=st.none() | SEGMENTS,
    headers=HEADERS,
    body=documents(),
)
def test_no_request_gives_a_500_and_every_error_has_the_form_of_the_api(
    gateway: Apart, method: str, path: bytes, query: bytes | None, headers: dict[str, bytes], body: Body
) -> None:
    target = path if query is None else path + b"?" + query
    fields = RIGHT | headers | {"Content-Length": str(len(bytes(body))).encode()}
    head = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in fields.items())
    sent = b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n%s" % (method.encode(), target, head, bytes(body))
    try:
        status, answer = exchange(gateway, sent)
    except ConnectionError:
        assert len(sent) > AT_ONCE, "a connection may only be cut while a long body of a malformed request is sent"
        return
    if status >= 400 and method != "HEAD":
        told = json.loads(answer)
        assert told.get("type") in (None, "error")
        error = told["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert status < 500 or (status == 503 and error["code"] in NOT_NOW), (status, error)
    assert status < 500 or status == 503


def test_the_requests_left_no_traceback_and_the_gateway_answers(gateway: Apart) -> None:
    body = json.dumps({"model": "extract", "messages": MESSAGES}).encode()
    head = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in RIGHT.items())
    sent = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s"
    assert exchange(gateway, sent % (head, len(body), body))[0] == 200
    assert gateway.process.returncode is None
    written = gateway.log.read_bytes()
    assert b"Traceback" not in written
    assert b"nobody foresaw" not in written


def exchange(gateway: Apart, sent: bytes) -> tuple[int, bytes]:
    """Send one request and return the final answer's status and body."""
    with socket.create_connection(("127.0.0.1", gateway.settings.port), 30) as client:
        client.sendall(sent)
        with client.makefile("rb") as answer:
            received = answer.read()
    status, rest = 100, received
    while status < 200:
        head, _, rest = rest.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
    return status, rest
