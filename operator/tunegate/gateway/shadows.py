"""Copies of answered requests for a release that nobody gets answers of: its numbers are kept, its answers are thrown away.

A copy is asked after its client has the whole answer, so it delays no answer that it is a copy of. It never waits: while the
engine is busy, or as many copies as may be are being answered, it is dropped. It counts as in flight, so a revoked release is cut off
from copies as from requests, and adapters are probed when none is left. Neither the request nor an answer is logged or stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from typing import Any

from tunegate.gateway.adapter_states import AdapterStates
from tunegate.gateway.bodies import Checked
from tunegate.gateway.engine import FAILURES, Engine
from tunegate.gateway.in_flight import InFlight
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.routes import RouteTable
from tunegate.gateway.settings import Limits
from tunegate.gateway.shares import Shares
from tunegate.gateway.stream import EventRewriter, Usage
from tunegate.gateway.traffic import Asked

MOST = 4
"""Copies that are answered at once."""
BUSY = 0.5
"""Share of what the engine writes at once above which nothing is copied."""
COMPARED_BYTES = 64 * 1024
"""Of an answer; a longer one is not compared: reading it would hold up others."""


class TooLong(Exception):
    """The answer to a copy has more bytes than an answer may have. That is no failure of the engine: a client asked for as much."""


class Shadows:
    """Asks for copies in tasks of their own."""

    def __init__(
        self,
        engine: Engine,
        routes: RouteTable,
        adapter_states: AdapterStates,
        in_flight: InFlight,
        sequences: Shares,
        metrics: Metrics,
        limits: Limits,
    ) -> None:
        self._engine = engine
        self._routes = routes
        self._adapter_states = adapter_states
        self._in_flight = in_flight
        self._sequences = sequences
        self._metrics = metrics
        self._answer_bytes = limits.answer_bytes
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def copy(self, endpoint: str, asked: Checked, answered_by: str, request_id: str, answer: bytes | None) -> None:
        """Ask the route's shadow, if it has one, what a client asked.

        ``answered_by``: the served name that answered the client; ``answer``: what the client got as a whole.
        """
        shadow = self._routes.shadow_of(asked.public, answered_by)
        if shadow is None or self._stopped or random.random() * 100 >= shadow.percent:  # noqa: S311 - no secret
            return
        served = shadow.served_name
        busy = self._sequences.waiting or self._sequences.used > self._sequences.total * BUSY
        if busy or len(self._tasks) >= MOST or asked.sequences > 1 or asked.structured:
            self._metrics.shadows.labels(served, "dropped").inc()
            return
        text = _text(answer) if answer is not None else None
        task = asyncio.get_running_loop().create_task(self._ask(endpoint, asked, served, f"{request_id}-shadow", text))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Take no more copies, and break off those that are being answered."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, endpoint: str, asked: Checked, served: str, request_id: str, text: str | None) -> None:
        if served not in self._routes.answering:
            return  # It was closed between the decision and this task's turn.
        counted, outcome = self._routes.traffic.begin(asked.public, served, shadow=True), "cut"
        with self._in_flight.enter(served):
            try:
                await self._answered(endpoint, asked, served, request_id, text, counted)
                outcome = "answered" if counted.finished else "refused"
            except TooLong:
                outcome = "too-long"
            except FAILURES:
                counted.failed, outcome = True, "failed"
            finally:
                counted.end()
                self._metrics.shadows.labels(served, outcome).inc()

    async def _answered(
        self, endpoint: str, asked: Checked, served: str, request_id: str, text: str | None, counted: Asked
    ) -> None:
        """Read an answer to its end and keep its numbers. Raises ``FAILURES``, ``TooLong``."""
        body = asked.for_engine(served, self._adapter_states.asked_as.get(served))
        answer = await self._engine.forward(endpoint, body, request_id)
        rewriter, raw = EventRewriter(asked.public, served, wants_usage=False), bytearray()
        size = 0
        async with answer:
            async for piece in answer.content.iter_any():
                size += len(piece)
                if size > self._answer_bytes:
                    raise TooLong
                if asked.streams:
                    rewriter.feed(piece)
                elif size <= COMPARED_BYTES:
                    raw += piece
        counted.failed, counted.finished = answer.status >= 500, answer.status == 200
        if asked.streams or size > COMPARED_BYTES:
            counted.tokens = rewriter.usage.completion
            return
        counted.tokens = _usage(bytes(raw)).completion
        own = _text(bytes(raw))
        counted.agrees = own == text if text is not None and own is not None else None


def _document(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _usage(raw: bytes) -> Usage:
    usage = Usage()
    usage.read(_document(raw))
    return usage


def _text(raw: bytes) -> str | None:
    """Return the digest of an answer's text; None where there is none, or too much to compare."""
    if len(raw) > COMPARED_BYTES:
        return None
    try:
        (choice,) = _document(raw)["choices"]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
    except (KeyError, TypeError, ValueError):
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if isinstance(text, str) else None
