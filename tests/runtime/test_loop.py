"""The worker loop: a stop finds a free worker and a free key, whatever hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from tests.support.recording_client import Memory
from tunegate.controllers.worker import Worker
from tunegate.errors import Transient, Waiting
from tunegate.kube.client import ObjectKey, ObjectRef
from tunegate.reconcile.plan import Plan
from tunegate.runtime.health import Health
from tunegate.runtime.loop import Loop

KEYS = [ObjectKey("team", f"key-{number}") for number in range(6)]


class Hanging:
    """A controller whose reconciles never end; its stops do."""

    kind: ClassVar[str] = "ModelRelease"
    manager: ClassVar[str] = "tunegate-release"
    shows_progress: ClassVar[bool] = False

    def __init__(self) -> None:
        self.began: asyncio.Queue[ObjectKey] = asyncio.Queue()
        self.stopped: asyncio.Queue[ObjectKey] = asyncio.Queue()
        self.cut_off: list[ObjectKey] = []
        self.failures: list[Exception] = []
        """What the next stops end in."""

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        self.began.put_nowait(key)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cut_off.append(key)
            raise
        return None

    async def stop(self, key: ObjectKey) -> Plan | None:
        self.stopped.put_nowait(key)
        if self.failures:
            raise self.failures.pop()
        return None


class NothingThere:
    """An API server without objects."""

    async def get(self, ref: ObjectRef) -> None:
        return None


@asynccontextmanager
async def working(controller: Any, tasks: int) -> AsyncIterator[Loop]:
    client: Any = NothingThere()
    loop = Loop(Worker(controller, client, Memory()), Health(), patience=0.0)
    work = asyncio.create_task(loop.run(tasks))
    try:
        async with asyncio.timeout(20):
            yield loop
    finally:
        work.cancel()
        await asyncio.wait([work])


async def test_a_stop_is_taken_while_every_worker_hangs() -> None:
    controller = Hanging()
    async with working(controller, 2) as loop:
        for key in KEYS:
            loop.queue.add(key)
        assert {await controller.began.get(), await controller.began.get()} == set(KEYS[:2])
        loop.add_stop(KEYS[5])
        assert await controller.stopped.get() == KEYS[5]
        assert controller.cut_off == []


async def test_a_reconcile_of_the_same_key_that_hangs_is_cut_off_and_looked_at_again_after_the_stop() -> None:
    controller = Hanging()
    async with working(controller, 1) as loop:
        loop.queue.add(KEYS[0])
        assert await controller.began.get() == KEYS[0]
        loop.add_stop(KEYS[0])
        assert await controller.stopped.get() == KEYS[0]
        assert controller.cut_off == [KEYS[0]]
        assert await controller.began.get() == KEYS[0]


async def test_a_stop_that_fails_is_tried_again_while_every_worker_hangs() -> None:
    controller = Hanging()
    controller.failures = [Transient("the API server does not answer")]
    async with working(controller, 1) as loop:
        loop.queue.add(KEYS[0])
        assert await controller.began.get() == KEYS[0]
        loop.add_stop(KEYS[5])
        assert [await controller.stopped.get() for _ in range(2)] == [KEYS[5]] * 2


async def test_after_a_stop_that_needs_a_person_everything_else_is_looked_at() -> None:
    controller = Hanging()
    controller.failures = [Waiting("ForeignObject", "somebody else's object stands there")]
    async with working(controller, 1) as loop:
        loop.add_stop(KEYS[0])
        assert await controller.began.get() == KEYS[0]


async def test_workers_that_are_cancelled_leave_no_reconcile_behind() -> None:
    controller = Hanging()
    async with working(controller, 2) as loop:
        for key in KEYS[:2]:
            loop.queue.add(key)
            await controller.began.get()
    assert sorted(controller.cut_off) == KEYS[:2]
