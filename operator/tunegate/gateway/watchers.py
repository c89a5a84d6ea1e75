"""What a gateway does all the time, kept going: a watcher that ends, for whatever reason, is started again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from tunegate.gateway.metrics import Metrics
from tunegate.logs import event, kinds

log = logging.getLogger("tunegate.gateway")
PAUSE_SECONDS = (0.5, 15.0)
"""First and longest pause before a watcher is started again."""
SOUND_SECONDS = 60.0
"""A watcher that ran so long has the first pause again."""


class Watchers:
    """Tasks by name."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self.ends: dict[str, str] = {}
        """How a watcher that had to be started again ended, by its name."""
        self.down: set[str] = set()
        """Watchers that ended and do not run yet again: meanwhile no client is sent here."""

    def start(self, watchers: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        """Run each forever."""
        self._tasks += [asyncio.create_task(self._keep(name, watcher)) for name, watcher in watchers.items()]

    async def stop(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, name: str, watcher: Callable[[], Awaitable[None]]) -> None:
        pause = PAUSE_SECONDS[0]
        while True:
            begun = asyncio.get_running_loop().time()
            self.down.discard(name)
            try:
                await watcher()
                self.ends[name] = "it ended by itself"
            except Exception as error:
                self.ends[name] = f"it failed: {kinds(error)}"
            self.down.add(name)
            self._metrics.restarts.labels(name).inc()
            log.error(
                "watcher %s is started again: %s",
                name,
                self.ends[name],
                extra=event("WatcherRestarted", watcher=name, error=self.ends[name]),
            )
            if asyncio.get_running_loop().time() - begun > SOUND_SECONDS:
                pause = PAUSE_SECONDS[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_SECONDS[1])
