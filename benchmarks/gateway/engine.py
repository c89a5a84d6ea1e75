"""An engine that needs no time: it answers every request from memory, in the form of vLLM 0.32.

Run by ``compare.py`` as a program: ``engine.py SOCKET PORT TOKENS``. What is left of a measurement is the cost of what stands
in front of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

BASE, ADAPTER = "base", "good-00000001"
HOLD = b"hold this stream"
"""A prompt with these words gets one token and then nothing, until its client leaves."""
WORDS = " ".join(["word"] * 64)


def _head(status: str, kind: str, length: int | None) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{size}\r\n\r\n".encode()


def _json(document: Any) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document, separators=(",", ":")).encode()
    return _head("200 OK", "application/json", len(body)) + body


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _event(document: Any) -> bytes:
    text = document if isinstance(document, str) else json.dumps(document, separators=(",", ":"))
    return _chunk(f"data: {text}\n\n".encode())


def _common(model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-0123456789abcdef", "created": 1_700_000_000, "model": model}


def _answer(model: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": 64, "total_tokens": 76}
    return _json({**_common(model), "object": "chat.completion", "choices": [choice], "usage": usage})


def _stream(model: str, tokens: int) -> list[bytes]:
    def event(**more: Any) -> bytes:
        return _event({**_common(model), "object": "chat.completion.chunk", **more})

    def text(content: str, ends: str | None) -> bytes:
        return event(choices=[{"index": 0, "delta": {"content": content}, "logprobs": None, "finish_reason": ends}])

    usage = {"prompt_tokens": 12, "completion_tokens": tokens, "total_tokens": tokens + 12}
    written = [text(f" word{number}", "stop" if number == tokens - 1 else None) for number in range(tokens)]
    return [*written, event(choices=[], usage=usage), _event("[DONE]") + b"0\r\n\r\n"]


def _scored(model: str) -> bytes:
    score = -0.2 if model == ADAPTER else -2.0
    positions: list[Any] = [None, {}, {}, {"4": {"logprob": score}}, {"5": {"logprob": score}}]
    return _json({"choices": [{"prompt_logprobs": positions}]})


class Engine(asyncio.Protocol):
    """One connection. Nothing is parsed but what decides which of the prepared answers is sent."""

    tokens = 0
    answers: dict[str, bytes] = {}
    streams: dict[str, list[bytes]] = {}
    folders: dict[str, str] = {BASE: ""}
    """Where each name was loaded from, as vLLM says it in `root`."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            _, _, length = head.partition(b"content-length:")
            size = int(length.split(b"\r\n", 1)[0]) if length else 0
            if len(self._received) < end + 4 + size:
                return
            body, self._received = self._received[end + 4 : end + 4 + size], self._received[end + 4 + size :]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if self._transport is None:
            return
        model = ADAPTER if ADAPTER.encode() in body else BASE
        if b'"prompt_logprobs"' in body:
            self._transport.write(_scored(model))
        elif path == b"/tokenize":
            self._transport.write(_json({"tokens": [1, 2, 3] if b'"messages"' in body else [4, 5]}))
        elif path == b"/v1/models":
            models = [{"id": name, "root": folder} for name, folder in self.folders.items()]
            self._transport.write(_json({"object": "list", "data": models}))
        elif path.endswith(b"_lora_adapter"):
            self._change(json.loads(body))
        elif path == b"/health":
            self._transport.write(_json({}))
        elif b'"stream": true' in body or b'"stream":true' in body:
            self._task = asyncio.get_running_loop().create_task(self._write(self.streams[model], HOLD in body))
        else:
            self._transport.write(self.answers[model])

    def _change(self, body: dict[str, str]) -> None:
        """Hold an adapter, or forget it where no folder is named."""
        if self._transport is None:
            return
        if "lora_path" in body:
            self.folders[body["lora_name"]] = body["lora_path"]
        else:
            self.folders.pop(body["lora_name"], None)
        self._transport.write(_json({}))

    async def _write(self, events: list[bytes], holds: bool) -> None:
        """Send an event in each turn of the loop, as an engine does that writes a token of every stream in each step."""
        if self._transport is not None:
            self._transport.write(_head("200 OK", "text/event-stream", None))
        for event in events[: 1 if holds else None]:
            if self._transport is None:
                return
            self._transport.write(event)
            await asyncio.sleep(0)


async def serve(socket: str, port: int, tokens: int) -> None:
    """Answer on a Unix socket and on a port of this machine, forever."""
    Engine.answers = {model: _answer(model) for model in (BASE, ADAPTER)}
    Engine.streams = {model: _stream(model, tokens) for model in (BASE, ADAPTER)}
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(Engine, socket, backlog=4096)
    server = await loop.create_server(Engine, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
