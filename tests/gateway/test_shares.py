"""Whose turn is next, and that nobody takes it all."""

from __future__ import annotations

import asyncio

import pytest

from tunegate.gateway.errors import ApiError
from tunegate.gateway.shares import Shares


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.attack(63)
async def test_who_asked_for_much_waits_behind_who_asked_for_little() -> None:
    shares = Shares("answers", 1, 1, 60)
    order: list[str] = []
    first = await shares.take("first", 1)

    async def ask(name: str, work: float) -> None:
        async with shares.hold(name, 1, work):
            order.append(name)
            await settle()

    greedy = [asyncio.create_task(ask("greedy", 1000)) for _ in range(5)]
    await settle()
    modest = [asyncio.create_task(ask("modest", 1)) for _ in range(3)]
    await settle()
    first()
    await asyncio.gather(*greedy, *modest)
    assert max(index for index, name in enumerate(order) if name == "modest") <= 4
    assert shares.used == 0


@pytest.mark.attack(63)
async def test_one_client_never_holds_more_than_its_share_whatever_it_does() -> None:
    shares = Shares("answers", 8, 4, 0.05)
    held = [await shares.take("greedy", 2) for _ in range(2)]
    with pytest.raises(ApiError) as caught:
        await shares.take("greedy", 1)
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "too_many_requests", 1)
    other = await shares.take("other", 4)
    for give_back in (*held, *held, other):
        give_back()
    assert shares.used == 0, "what is given back twice counts once"


@pytest.mark.attack(63)
async def test_of_two_active_clients_each_holds_at_most_a_third_and_who_is_alone_again_half() -> None:
    shares = Shares("answers", 8, 4, 0.05, active=0.1)
    alone = [await shares.take("greedy", 1) for _ in range(4)]
    (await shares.take("modest", 1))()
    alone.pop()()
    alone.pop()()
    with pytest.raises(ApiError):
        await shares.take("greedy", 1)
    assert shares.used == 2, "what was begun goes on"
    alone.pop()()
    alone.append(await shares.take("greedy", 1))
    await asyncio.sleep(0.15)
    alone += [await shares.take("greedy", 1) for _ in range(2)]
    assert shares.used == 4
    for give_back in alone:
        give_back()


@pytest.mark.attack(63)
async def test_a_request_of_a_whole_share_is_answered_beside_other_clients() -> None:
    shares = Shares("answers", 8, 4, 0.05)
    greedy = [await shares.take("greedy", 1) for _ in range(4)]
    (await shares.take("modest", 4))()
    with pytest.raises(ApiError):
        await shares.take("greedy", 1)
    for give_back in greedy:
        give_back()


async def test_who_wants_much_gets_it_in_the_end() -> None:
    shares = Shares("answers", 4, 4, 60)
    small = [await shares.take("small", 1) for _ in range(2)]
    large = asyncio.create_task(shares.take("large", 4, 1))
    await settle()
    later = asyncio.create_task(shares.take("small", 1, 100))
    await settle()
    assert not later.done(), "it would keep the large one waiting forever"
    for give_back in small:
        give_back()
    (await large)()
    (await later)()
    assert shares.used == 0


async def test_who_gives_up_leaves_nothing_behind() -> None:
    shares = Shares("answers", 1, 1, 60)
    first = await shares.take("a", 1)
    waiting = [asyncio.create_task(shares.take("b", 1)) for _ in range(3)]
    await settle()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert shares.waiting == 0
    first()
    (await shares.take("c", 1))()
    assert shares.used == 0


async def test_a_line_has_an_end() -> None:
    shares = Shares("answers", 1, 1, 60, line=2)
    first = await shares.take("a", 1)
    waiting = [asyncio.create_task(shares.take("a", 1)) for _ in range(2)]
    await settle()
    with pytest.raises(ApiError):
        await shares.take("a", 1)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    first()
