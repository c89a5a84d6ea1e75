"""Jobs that are made at once share answers; a change that is told, or a moment, has them asked again."""

from __future__ import annotations

import asyncio

import pytest

from tunegate.controllers.recent import KEPT, Recent
from tunegate.errors import Transient


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Answers with the number of the question, when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self) -> int:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        return number


async def test_those_who_ask_at_the_same_time_or_soon_after_share_an_answer() -> None:
    clock, server = Clock(), Server()
    recent = Recent(1.0, clock)

    assert await asyncio.gather(*(recent.ask("ComputePool", "pool", server.answer) for _ in range(100))) == [1] * 100
    clock.now = 0.9
    assert await recent.ask("ComputePool", "pool", server.answer) == 1
    clock.now = 1.1
    assert await recent.ask("ComputePool", "pool", server.answer) == 2
    assert await recent.ask("ComputePool", "another", server.answer) == 3


async def test_whoever_looks_because_of_a_change_does_not_get_what_was_asked_before_it() -> None:
    server = Server()
    recent = Recent(60.0)
    server.may_answer.clear()
    before = asyncio.create_task(recent.ask("ComputePool", "pool", server.answer))
    other = asyncio.create_task(recent.ask("ModelServer", "server", server.answer))
    await asyncio.sleep(0)

    recent.forget("ComputePool")
    after = asyncio.create_task(recent.ask("ComputePool", "pool", server.answer))
    same = asyncio.create_task(recent.ask("ModelServer", "server", server.answer))
    await asyncio.sleep(0)
    server.may_answer.set()

    assert list(await asyncio.gather(before, other, after, same)) == [1, 2, 3, 2]


async def test_an_error_is_not_remembered() -> None:
    recent, server = Recent(60.0), Server()

    async def fail() -> int:
        raise Transient("the API server does not answer")

    with pytest.raises(Transient):
        await recent.ask("ComputePool", "pool", fail)
    await asyncio.sleep(0)
    assert await recent.ask("ComputePool", "pool", server.answer) == 1


async def test_someone_who_is_interrupted_takes_the_answer_from_nobody() -> None:
    recent, server = Recent(60.0), Server()
    server.may_answer.clear()
    first = asyncio.create_task(recent.ask("ComputePool", "pool", server.answer))
    second = asyncio.create_task(recent.ask("ComputePool", "pool", server.answer))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    server.may_answer.set()

    assert await second == 1


async def test_what_is_remembered_does_not_grow_without_end() -> None:
    clock, server = Clock(), Server()
    recent = Recent(1.0, clock)
    for number in range(KEPT):
        await recent.ask("PersistentVolumeClaim", number, server.answer)
    clock.now = 2.0

    await recent.ask("PersistentVolumeClaim", "one more", server.answer)

    assert recent.remembered == 1


async def test_without_a_time_everything_is_asked_again() -> None:
    recent, server = Recent(), Server()
    assert [await recent.ask("ComputePool", "pool", server.answer) for _ in range(2)] == [1, 2]
