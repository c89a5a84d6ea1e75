"""Answers that hold for a moment: a thousand jobs that are made at once name the same server, pool, policy and suite.

Without this each of them would read all of these again. What a watch stream tells of an object ends what is remembered of it
before anything is looked at because of that change, so that no look sees less than the change that led to it. What no watch
stream tells, as rights do, is asked again after ``seconds``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")
RECENT_SECONDS = 1.0
"""How old an answer may be, in the operator."""
KEPT = 4096
"""Answers after which the old ones are cleared away."""


class Recent:
    """Remembers answers by the kind of what they tell about and any further key. With 0 ``seconds`` nothing is remembered."""

    def __init__(self, seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._known: dict[tuple[str, Hashable], tuple[float, asyncio.Future[Any]]] = {}

    async def ask(self, kind: str, key: Hashable, question: Callable[[], Awaitable[T]]) -> T:
        """Return what ``question`` returns, or returned for this kind and key a moment ago.

        Everyone who asks before the answer is there shares it. Raises what ``question`` raises; an error is not remembered.
        """
        if not self._seconds:
            return await question()
        now = self._clock()
        known = self._known.get((kind, key))
        if known is not None and known[0] > now:
            return cast(T, await asyncio.shield(known[1]))
        self._clear(now)
        answer = asyncio.ensure_future(question())
        self._known[kind, key] = (now + self._seconds, answer)
        answer.add_done_callback(lambda done: self._drop_failed(kind, key, done))
        return await asyncio.shield(answer)

    @property
    def remembered(self) -> int:
        """How many answers are held."""
        return len(self._known)

    def forget(self, kind: str) -> None:
        """Ask again about everything of this kind: something of it changed."""
        for known in [known for known in self._known if known[0] == kind]:
            del self._known[known]

    def _drop_failed(self, kind: str, key: Hashable, done: asyncio.Future[Any]) -> None:
        if done.cancelled() or done.exception() is not None:
            known = self._known.get((kind, key))
            if known is not None and known[1] is done:
                del self._known[kind, key]

    def _clear(self, now: float) -> None:
        if len(self._known) >= KEPT:
            self._known = {key: known for key, known in self._known.items() if known[0] > now}
