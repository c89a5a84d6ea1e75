"""The worker loop: takes keys from a controller's queue, has them reconciled, and decides when to look again."""

from __future__ import annotations

import asyncio
import time

from tunegate.controllers.worker import Outcome, Worker
from tunegate.kube.client import ObjectKey
from tunegate.runtime import metrics
from tunegate.runtime.health import Health
from tunegate.runtime.queue import QueueClosed, WorkQueue


class Loop:
    """One controller's queue and the tasks that empty it."""

    def __init__(self, worker: Worker, health: Health) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._worker = worker
        self._health = health
        self.shows_progress = worker.shows_progress
        """Whether a change of nothing but progress or wording concerns this controller."""
        metrics.QUEUE_DEPTH.labels(worker.name).set_function(lambda: len(self.queue))

    async def run(self, tasks: int) -> None:
        """Work with so many tasks until the queue is closed; a reconcile that has begun is finished."""
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            try:
                outcome = await self._reconcile(key)
            finally:
                self.queue.done(key)
            self._again(key, outcome)

    async def _reconcile(self, key: ObjectKey) -> Outcome:
        name = self._worker.name
        what = f"{name} {key.namespace}/{key.name}"
        began = time.monotonic()
        self._health.began(what)
        try:
            outcome = await self._worker.run(key)
        finally:
            self._health.ended(what)
        metrics.RECONCILE_SECONDS.labels(name).observe(time.monotonic() - began)
        metrics.RECONCILES.labels(name, outcome.result).inc()
        for write, count in outcome.writes.items():
            metrics.WRITES.labels(name, write).inc(count)
        return outcome

    def _again(self, key: ObjectKey, outcome: Outcome) -> None:
        """Failures that may pass come back with growing delays; what needs a person waits for a change or a resync."""
        if outcome.result in ("transient", "defect"):
            metrics.QUEUE_RETRIES.labels(self._worker.name).inc()
            self.queue.retry(key, at_least=outcome.after or 0.0)
            return
        self.queue.forget(key)
        if outcome.after is not None:
            self.queue.add(key, max(outcome.after, 0.05))
