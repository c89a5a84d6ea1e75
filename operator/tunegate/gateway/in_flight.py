"""Requests that are being answered: cut when their release may not answer any more, awaited at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.gateway.metrics import Metrics


class InFlight:
    """Tasks by the model that answers them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: dict[asyncio.Task[object], str] = {}
        self._none = asyncio.Event()
        self._none.set()

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def served(self) -> frozenset[str]:
        """Names of the models that are answering something."""
        return frozenset(self._tasks.values())

    @contextmanager
    def enter(self, served: str) -> Iterator[None]:
        """Count the current task while it is answered."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("requests are handled in tasks")
        self._tasks[task] = served
        self._none.clear()
        self._metrics.in_flight.labels(served).inc()
        try:
            yield
        finally:
            del self._tasks[task]
            self._metrics.in_flight.labels(served).dec()
            if not self._tasks:
                self._none.set()

    def cut(self, allowed: frozenset[str]) -> int:
        """Break off every request that a model outside ``allowed`` is answering; the base model always may."""
        doomed = [task for task, served in self._tasks.items() if served not in allowed | {BASE_SERVED_NAME}]
        for task in doomed:
            task.cancel()
        return len(doomed)

    def cut_one(self, served: str) -> int:
        """Break off every request that this model is answering."""
        doomed = [task for task, name in self._tasks.items() if name == served]
        for task in doomed:
            task.cancel()
        return len(doomed)

    async def finished(self, timeout: float) -> bool:
        """Wait until nothing is in flight, at most ``timeout`` seconds; tell whether it came to that."""
        try:
            async with asyncio.timeout(timeout):
                await self._none.wait()
        except TimeoutError:
            return False
        return True
