"""Reads answers of HTTP servers within a total time and size, whatever pace they come at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx


class AnswerOutOfBounds(httpx.HTTPError):
    """An answer is larger, or comes slower, than anybody waits for."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status_code: int
    headers: httpx.Headers
    content: bytes


def request_bounded(
    http: httpx.Client, method: str, url: str, *, seconds: float, largest: int, **request: Any
) -> Answer:
    """Send a request and return its answer of at most ``largest`` bytes. Raises ``httpx.HTTPError``, of any kind."""
    ends = time.monotonic() + seconds
    with http.stream(method, url, timeout=seconds, **request) as answer:
        content = bytearray()
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > largest:
                raise AnswerOutOfBounds(f"the answer has more than {largest} bytes")
            if time.monotonic() > ends:
                raise AnswerOutOfBounds(f"the answer takes longer than {seconds:g} s")
        return Answer(answer.status_code, answer.headers, bytes(content))


async def post_bounded(
    http: httpx.AsyncClient, url: str, *, content: bytes, headers: Mapping[str, str], largest: int
) -> Answer:
    """Post and return the answer of at most ``largest`` bytes; the caller limits the time. Raises ``httpx.HTTPError``."""
    async with http.stream("POST", url, content=content, headers=dict(headers)) as answer:
        return Answer(answer.status_code, answer.headers, await read_bounded(answer, largest))


async def read_bounded(answer: httpx.Response, largest: int) -> bytes:
    """Return the rest of a streamed answer. Raises ``httpx.HTTPError``, also where it is larger than ``largest`` bytes."""
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > largest:
            raise AnswerOutOfBounds(f"the answer has more than {largest} bytes")
    return bytes(content)
