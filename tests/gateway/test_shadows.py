"""Copies of requests for a shadow, over real sockets: nobody gets their answers, and nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.standins import DEAD, DIES, GOOD, Scene, routes, scene, to, until
from tunegate.api.serving import OpenShadow, Traffic
from tunegate.gateway.app import drain
from tunegate.gateway.settings import Limits
from tunegate.gateway.shadows import MOST

NEW = "new-00000004"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Scene]:
    """A gateway whose route `extract` is copied; the test lets it hold the shadow's adapter as well."""
    async with scene(tmp_path) as running:
        running.gateway.routes.hold(frozenset({GOOD, DEAD}))
        await follow(running, 2)
        yield running


async def follow(stage: Scene, revision: int, percent: int = 100, approved: tuple[str, ...] = (GOOD, DEAD)) -> None:
    shadow = OpenShadow(served_name=DEAD, percent=percent)
    copied = to(GOOD).model_copy(update={"shadow": shadow})
    await stage.cluster.put(routes(revision=revision, routes={"extract": copied}, approved=[*approved]))
    await until(lambda: stage.gateway.routes.revision == revision, "told the new routes")


def counted(stage: Scene) -> Traffic:
    """Return what was counted of copies."""
    found = [one for one in stage.gateway.status().traffic if one.shadow]
    return found[0] if found else Traffic(route="", served_name="")


def asked(stage: Scene) -> list[Any]:
    """Return the models that the engine was asked for, in order."""
    return [body["model"] for _, body, _ in stage.engine.seen]


async def test_a_copy_is_asked_after_the_answer_and_only_its_numbers_stay(stage: Scene) -> None:
    status, told, headers = await stage.ask("extract", temperature=0)
    assert (status, headers["X-Tunegate-Served-Name"]) == (200, GOOD)
    assert DEAD not in str(told)
    await until(lambda: counted(stage).requests == 1, "copied")
    assert asked(stage) == [GOOD, DEAD]
    first, second = ({**body, "model": ""} for _, body, _ in stage.engine.seen)
    assert first == second
    one = counted(stage)
    assert (one.served_name, one.errors, one.tokens, one.compared, one.agreed) == (DEAD, 0, 2, 1, 0)
    stage.engine.padding = 80_000
    await stage.ask("extract", temperature=0)
    await stage.ask("extract", temperature=0.7)
    await until(lambda: counted(stage).requests == 3, "copied")
    assert counted(stage).compared == 1, "what is long, or drawn by chance, is not compared"


async def test_a_stream_is_copied_and_a_failing_shadow_is_counted_and_hurts_nobody(stage: Scene) -> None:
    body = {"model": "extract", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=stage.headers) as answer:
        assert b"[DONE]" in await answer.read()
    await until(lambda: counted(stage).requests == 1, "copied")
    assert counted(stage).tokens == 2
    assert (await stage.ask("extract", seed=DIES))[0] == 502
    assert (await stage.ask("base"))[0] == 200
    assert counted(stage).requests == 1, "what had no answer, or no route, is not copied"


async def test_a_copy_whose_answer_is_too_long_speaks_against_nobody(tmp_path: Path) -> None:
    async with scene(tmp_path, Limits(answer_bytes=16_384)) as stage:
        stage.gateway.routes.hold(frozenset({GOOD, DEAD}))
        await follow(stage, 2)
        stage.engine.padding = 20_000
        body = {"model": "extract", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=stage.headers) as answer:
            assert b"[DONE]" in await answer.read()
        await until(lambda: asked(stage) == [GOOD, DEAD] and not len(stage.gateway.in_flight), "copied")
        assert (counted(stage).requests, counted(stage).errors) == (0, 0)


async def test_copies_are_dropped_while_as_many_as_may_be_are_answered(stage: Scene) -> None:
    stage.engine.held = DEAD
    for _ in range(MOST + 3):
        assert (await stage.ask("extract"))[0] == 200, "clients are answered all the same"
    await until(lambda: asked(stage).count(DEAD) == MOST, "held")
    async with stage.http.get(f"{stage.status_url}/metrics") as answer:
        text = await answer.text()
    assert f'tunegate_gateway_shadow_copies_total{{model="{DEAD}",outcome="dropped"}} 3.0' in text


@pytest.mark.attack(81)
async def test_what_a_release_answered_that_the_route_has_left_is_not_copied(stage: Scene) -> None:
    stage.engine.go.clear()
    asking = asyncio.create_task(stage.ask("extract"))
    await asyncio.wait_for(stage.engine.begun.wait(), 5)
    shadow = OpenShadow(served_name=DEAD, percent=100)
    moved = to(NEW).model_copy(update={"shadow": shadow})
    await stage.cluster.put(routes(revision=3, routes={"extract": moved}, approved=[GOOD, DEAD, NEW]))
    await until(lambda: stage.gateway.routes.revision == 3, "told the new routes")
    assert stage.gateway.routes.open == {"extract": {GOOD: 100}}, "the new release is not held yet"
    stage.engine.go.set()
    assert (await asking)[0] == (await stage.ask("extract"))[0] == 200
    await until(lambda: not len(stage.gateway.in_flight), "done")
    assert asked(stage) == [GOOD, GOOD]
    assert not stage.gateway.proxy.shadows._tasks


@pytest.mark.attack(81)
async def test_a_revoked_shadow_is_cut_off_from_its_copies(stage: Scene) -> None:
    stage.engine.held = DEAD
    await stage.ask("extract")
    await until(lambda: DEAD in asked(stage), "copied")
    assert stage.gateway.status().shadows == {"extract": DEAD}
    await follow(stage, 3, approved=(GOOD,))
    await until(stage.engine.aborted.is_set, "cut")
    assert stage.gateway.status().shadows == {}
    await stage.ask("extract")
    await asyncio.sleep(0.1)
    assert asked(stage).count(DEAD) == 1
    assert counted(stage).requests == 0


async def test_a_pod_that_leaves_waits_for_no_copy(stage: Scene) -> None:
    stage.engine.held = DEAD
    await stage.ask("extract")
    await until(lambda: DEAD in asked(stage), "copied")
    await drain(stage.gateway, stage.settings)
    assert len(stage.gateway.in_flight) == 0
    await stage.ask("extract")
    assert asked(stage).count(DEAD) == 1


async def test_a_copy_is_made_of_the_share_that_is_asked_for(stage: Scene) -> None:
    await follow(stage, 3, percent=50)
    for number in range(40):
        await stage.ask("extract")
        await until(lambda: not len(stage.gateway.in_flight), f"done with {number}")
    assert 5 <= asked(stage).count(DEAD) <= 35
