"""The worker loop: takes keys from a controller's queue, has them reconciled, and decides when to look again.

A stop waits for nothing: some workers take only stops, so that one is free however many reconciles hang, and a reconcile of
the same key that does not end soon is cancelled. To be cut off at any point is what a reconcile has to survive anyway.
"""

from __future__ import annotations

import asyncio
import time

from tunegate.controllers.worker import Outcome, Worker
from tunegate.kube.client import ObjectKey
from tunegate.runtime import metrics
from tunegate.runtime.health import Health
from tunegate.runtime.queue import QueueClosed, WorkQueue

STOP_TASKS = 2
"""Tasks of each loop that take only stops."""
PATIENCE_SECONDS = 2.0
"""How long a stop lets an earlier reconcile of its key go on: one that does not hang ends in less."""


class Loop:
    """One controller's queue and the tasks that empty it."""

    def __init__(self, worker: Worker, health: Health, *, patience: float = PATIENCE_SECONDS) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._worker = worker
        self._health = health
        self._patience = patience
        self._running: dict[ObjectKey, asyncio.Task[Outcome]] = {}
        self.shows_progress = worker.shows_progress
        """Whether a change of nothing but progress or wording concerns this controller."""
        metrics.QUEUE_DEPTH.labels(worker.name).set_function(lambda: len(self.queue))

    def add_stop(self, key: ObjectKey) -> None:
        """Look before anything else whether the object, or what it serves, has to stop."""
        if not self._worker.stops:
            self.queue.add(key)
            return
        self.queue.add(key, stop=True)
        running = self._running.get(key)
        if running is not None and not self.queue.is_stop(key):
            asyncio.get_running_loop().call_later(self._patience, running.cancel)

    async def run(self, tasks: int) -> None:
        """Work with so many tasks until the queue is closed; a reconcile that has begun is finished."""
        async with asyncio.TaskGroup() as group:
            for number in range(tasks + STOP_TASKS):
                group.create_task(self._work(stops_only=number >= tasks))

    async def _work(self, *, stops_only: bool) -> None:
        while True:
            try:
                key = await self.queue.get(stops_only=stops_only)
            except QueueClosed:
                return
            stop = self.queue.is_stop(key)
            try:
                outcome = await self._interruptible(key, stop=stop)
            finally:
                self.queue.done(key)
            self._again(key, outcome, stop=stop)

    async def _interruptible(self, key: ObjectKey, *, stop: bool) -> Outcome:
        """Run a reconcile that ``add_stop`` can cut off without ending this task."""
        task = self._running[key] = asyncio.create_task(self._reconcile(key, stop=stop))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            del self._running[key]
        return Outcome("interrupted") if task.cancelled() else task.result()

    async def _reconcile(self, key: ObjectKey, *, stop: bool) -> Outcome:
        name = self._worker.name
        what = f"{name} {key.namespace}/{key.name}"
        began = time.monotonic()
        result = "interrupted"
        self._health.began(what)
        try:
            outcome = await (self._worker.stop(key) if stop else self._worker.run(key))
            result = outcome.result
        finally:
            self._health.ended(what)
            metrics.RECONCILES.labels(name, result).inc()
        metrics.RECONCILE_SECONDS.labels(name).observe(time.monotonic() - began)
        for write, count in outcome.writes.items():
            metrics.WRITES.labels(name, write).inc(count)
        return outcome

    def _again(self, key: ObjectKey, outcome: Outcome, *, stop: bool) -> None:
        """Failures that may pass come back with growing delays; what needs a person waits for a change or a resync.

        A stop comes back as a stop, since all other workers may hang; after it everything else about the object is looked at.
        """
        if outcome.result == "transient" or (outcome.result == "defect" and not stop):
            metrics.QUEUE_RETRIES.labels(self._worker.name).inc()
            self.queue.retry(key, at_least=outcome.after or 0.0, stop=stop)
            return
        self.queue.forget(key)
        if stop:
            self.queue.add(key)
        elif outcome.after is not None:
            self.queue.add(key, max(outcome.after, 0.05))
