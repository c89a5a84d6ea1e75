"""WorkQueue: which keys need a look, each by one worker at a time.

The semantics are those of client-go's rate-limited queue: a key that is added while it is being worked on is handed out
once more afterwards; a key that waits for its time is handed out earlier when something happens to it. Beyond it, a key may
be added as a stop: it goes before all others, and a worker may wait for stops alone, so that one is always free for them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
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
        self._stops: OrderedDict[K, None] = OrderedDict()
        self._ready: OrderedDict[K, None] = OrderedDict()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        """When keys are due, the earliest first; an entry that ``_due`` contradicts is out of date."""
        self._serial = itertools.count()
        self._active: dict[K, bool] = {}
        """Keys being worked on, and whether each was handed out as a stop."""
        self._again: set[K] = set()
        """Keys to hand out once more when they are given back."""
        self._urgent: set[K] = set()
        """Keys that are handed out as stops the next time, whether they are ready, wait for their time or are worked on."""
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Return how many keys are ready or will be; keys being worked on do not count."""
        return len(self._stops) + len(self._ready) + len(self._due) + len(self._again)

    @property
    def active(self) -> int:
        """How many keys are being worked on."""
        return len(self._active)

    def add(self, key: K, delay: float = 0.0, *, stop: bool = False) -> None:
        """Have ``key`` handed out after ``delay`` seconds, a ``stop`` before all that are none. What was asked for earlier stays."""
        if self._closed:
            return
        if stop:
            self._urgent.add(key)
        if delay > 0 and not (key in self._ready or key in self._stops or key in self._again):
            self._wait(key, delay)
        elif stop or not delay > 0:
            self._make_ready(key)
        self._changed.set()

    def is_stop(self, key: K) -> bool:
        """Tell whether ``key``, which is being worked on, was handed out as a stop."""
        return self._active.get(key, False)

    def retry(self, key: K, *, at_least: float = 0.0, stop: bool = False) -> float:
        """Have ``key`` handed out after its growing, jittered delay, in seconds; return that delay. A stop stays one."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = max(at_least, backoff(self._failures[key], self._jitter()))
        self.add(key, delay, stop=stop)
        return delay

    def forget(self, key: K) -> None:
        """Begin again with the first delay at the next failure."""
        self._failures.pop(key, None)

    async def get(self, *, stops_only: bool = False) -> K:
        """Wait for a key and take it: nobody else gets it before ``done``. Raises ``QueueClosed``."""
        while True:
            if self._closed:
                raise QueueClosed
            wait = self._promote()
            for keys, stop in ((self._stops, True), (self._ready, False)):
                if keys and (stop or not stops_only):
                    key, _ = keys.popitem(last=False)
                    self._active[key] = stop
                    self._urgent.discard(key)
                    return key
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """Give ``key`` back; it is ready again at once if it was added meanwhile."""
        self._active.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self._make_ready(key)
        self._changed.set()

    def close(self) -> None:
        """Hand out nothing any more; everybody who waits in ``get`` is told."""
        self._closed = True
        self._changed.set()

    def _make_ready(self, key: K) -> None:
        self._due.pop(key, None)
        if key in self._active:
            self._again.add(key)
        elif key in self._urgent:
            self._ready.pop(key, None)
            self._stops.setdefault(key)
        else:
            self._ready.setdefault(key)

    def _wait(self, key: K, delay: float) -> None:
        due = self._now() + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._serial), key))

    def _promote(self) -> float | None:
        """Make due keys ready; return the seconds until the next one, None when no key waits for its time."""
        now = self._now()
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
            elif due <= now:
                heapq.heappop(self._heap)
                self._make_ready(key)
            else:
                return due - now
        return None

    def _now(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()
