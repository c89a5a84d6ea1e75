"""The client of the vLLM sidecar: many questions at a time, greedy, on loopback.

Everything is asked with temperature 0 and one seed. That does not make runs equal to the last word: bfloat16 sums in
another order at another batch size, so answers are kept and never compared between runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import httpx

from tunegate.api.asked import keeping_to
from tunegate.api.stage.layout import ENGINE_PORT
from tunegate.probes import EngineRequest, Scored, drive, score_answer
from tunegate_trainer.endings import BadInput, Unavailable
from tunegate_trainer.evaluation.prompts import Messages

T = TypeVar("T")

CONCURRENCY = 32
"""Questions at a time. A CPU answers 48 questions in 14.8 s where 16 at a time take 19.0 s: each step reads all weights once,
for however many. What does not fit into the cache of keys and values waits in the engine. Part of the baseline's cache key, since
answers differ a little with the size of a batch."""
ATTEMPTS = 4
READY_SECONDS = 900.0
"""How long an engine may take to start; the sidecar's startup probe usually spares us the waiting."""
ANSWER_SECONDS = 600.0


@dataclass(frozen=True)
class Reply:
    """One answer. ``shortened`` tells that examples or passages were left out of the prompt because it was too long."""

    text: str
    finish: str
    shortened: bool = False


@dataclass(frozen=True)
class Ask:
    """One question: prompts in the order in which to try them, each shorter than the one before."""

    prompts: Sequence[Messages]
    max_tokens: int
    schema: Mapping[str, Any] | None = None


class PromptTooLong(Exception):
    """The engine refuses the prompt for its length."""


class Engine:
    """One vLLM server. Use as an asynchronous context manager."""

    def __init__(self, base_url: str = f"http://127.0.0.1:{ENGINE_PORT}", *, concurrency: int = CONCURRENCY) -> None:
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._http = httpx.AsyncClient(
            base_url=base_url, timeout=httpx.Timeout(ANSWER_SECONDS, connect=10.0), limits=limits, trust_env=False
        )
        self._slots = asyncio.Semaphore(concurrency)

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def wait_until_ready(self, models: Sequence[str], *, seconds: float = READY_SECONDS) -> None:
        """Return when the engine lists all ``models``. Raises ``Unavailable`` after ``seconds``."""
        deadline = time.monotonic() + seconds
        missing: Sequence[str] = models
        while time.monotonic() < deadline:
            try:
                answer = await self._http.get("/v1/models", timeout=10.0)
                if answer.status_code == 200:
                    listed = {str(entry["id"]) for entry in answer.json()["data"]}
                    missing = [name for name in models if name not in listed]
                    if not missing:
                        return
            except (httpx.TransportError, ValueError, KeyError):
                pass  # still starting
            await asyncio.sleep(1.0)
        raise Unavailable(f"the engine did not offer {', '.join(missing)} within {seconds:.0f} s")

    async def ask_all(
        self, model: str, asks: Sequence[Ask], *, seed: int, seen: Callable[[int], None] = lambda _: None
    ) -> list[Reply]:
        """Return the replies in the order of ``asks``; ``seen`` hears how many are there."""
        done = 0

        async def one(ask: Ask) -> Reply:
            nonlocal done
            async with self._slots:
                reply = await self._ask(model, ask, seed)
            done += 1
            seen(done)
            return reply

        return await _gather([one(ask) for ask in asks])

    async def score_all(self, tuned: str, base: str, items: Sequence[tuple[Messages, str]]) -> list[Scored]:
        """Return how likely each (messages, answer) is under both models, one request at a time.

        One after the other on purpose: vLLM 0.32 on a CPU ends its engine when a request for prompt log-probabilities
        under an adapter shares a batch with another request. So nothing else may be asked meanwhile.
        """
        return [
            Scored(
                tuned=await drive(score_answer(tuned, messages, answer), self._send),
                base=await drive(score_answer(base, messages, answer), self._send),
            )
            for messages, answer in items
        ]

    async def _ask(self, model: str, ask: Ask, seed: int) -> Reply:
        body: dict[str, Any] = {"model": model, "temperature": 0, "seed": seed, "max_tokens": ask.max_tokens}
        if ask.schema is not None:
            body["response_format"] = keeping_to(dict(ask.schema))
        for tried, messages in enumerate(ask.prompts):
            turns = [dict(turn) for turn in messages]
            try:
                answer = await self._send(EngineRequest("/v1/chat/completions", {**body, "messages": turns}))
            except PromptTooLong:
                continue
            choice = answer["choices"][0]
            return Reply(choice["message"]["content"] or "", choice["finish_reason"] or "", shortened=tried > 0)
        raise BadInput("a question of the suite with task.maxTokens does not fit into the server's profile.maxModelLen")

    async def _send(self, request: EngineRequest) -> Mapping[str, Any]:
        """Post once, and again while the engine is not there. Raises ``PromptTooLong``, ``BadInput``, ``Unavailable``."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(2.0 ** (attempt - 1))
            try:
                answer = await self._http.post(request.path, json=request.body)
            except httpx.TransportError as error:
                problem = type(error).__name__
                continue
            if answer.status_code == 200:
                decoded: Mapping[str, Any] = answer.json()
                return decoded
            if answer.status_code == 400 and _is_length(answer.text):
                raise PromptTooLong
            if answer.status_code < 500 and answer.status_code != 429:
                raise BadInput(f"the engine refuses {request.path} with {answer.status_code}")
            problem = f"status {answer.status_code}"
        raise Unavailable(f"the engine fails on {request.path}: {problem}")


def _is_length(text: str) -> bool:
    """Tell vLLM's refusals for length from others: it gives them no code of their own."""
    lowered = text.casefold()
    return "maximum context length" in lowered or "max_model_len" in lowered or "longer than the maximum" in lowered


async def _gather(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all; the first failure stops the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]
