"""WorkQueue: which keys need a look, each by one worker at a time.

The semantics are those of client-go's rate-limited queue: a key that is added while it is being worked on is handed out
once more afterwards; a key that waits for its time is handed out earlier when something happens to it.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_DELAY = 0.5
"""Seconds before the first retry."""
LONGEST_DELAY = 300.0
"""Seconds that retries never exceed, jitter aside."""


class QueueClosed(Exception):
    """The queue hands out nothing any more."""


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds before retry number ``failures`` (from 1); ``jitter`` in [0, 1) spreads it over ±25 %."""
    exponent = min(max(failures, 1) - 1, 32)
    return min(FIRST_DELAY * 2.0**exponent, LONGEST_DELAY) * (0.75 + jitter / 2)


class WorkQueue(Generic[K]):
    """A queue for one event loop. ``clock`` gives seconds that only grow (the loop's own time by default)."""

    def __init__(
        self, *, clock: Callable[[], float] | None = None, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._ready: OrderedDict[K, None] = OrderedDict()
        self._due: dict[K, float] = {}
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Return how many keys are ready or will be; keys being worked on do not count."""
        return len(self._ready) + len(self._due) + len(self._again)

    @property
    def active(self) -> int:
        """How many keys are being worked on."""
        return len(self._active)

    def add(self, key: K, delay: float = 0.0) -> None:
        """Have ``key`` handed out after ``delay`` seconds. What was asked for earlier stays."""
        if self._closed:
            return
        if delay > 0:
            if key not in self._ready and key not in self._again:
                self._due[key] = min(self._now() + delay, self._due.get(key, float("inf")))
        else:
            self._due.pop(key, None)
            if key in self._active:
                self._again.add(key)
            else:
                self._ready.setdefault(key)
        self._changed.set()

    def retry(self, key: K, *, at_least: float = 0.0) -> float:
        """Have ``key`` handed out after its growing, jittered delay, in seconds; return that delay."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = max(at_least, backoff(self._failures[key], self._jitter()))
        self.add(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Begin again with the first delay at the next failure."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it: nobody else gets it before ``done``. Raises ``QueueClosed``."""
        while True:
            if self._closed:
                raise QueueClosed
            wait = self._promote()
            if self._ready:
                key, _ = self._ready.popitem(last=False)
                self._active.add(key)
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """Give ``key`` back; it is ready again at once if it was added meanwhile."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        self._changed.set()

    def close(self) -> None:
        """Hand out nothing any more; who waits in ``get`` is told."""
        self._closed = True
        self._changed.set()

    def _promote(self) -> float | None:
        """Make due keys ready; return the seconds until the next one, None when no key waits for its time."""
        now = self._now()
        for key in [key for key, due in self._due.items() if due <= now]:
            del self._due[key]
            if key in self._active:
                self._again.add(key)
            else:
                self._ready.setdefault(key)
        return min(self._due.values()) - now if self._due else None

    def _now(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()
