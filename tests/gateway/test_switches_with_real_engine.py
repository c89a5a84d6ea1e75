"""Adapters come and go in a real vLLM while clients are answered, and whatever is killed meanwhile, only what is approved answers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.real_engine import (
    GOOD,
    OTHER_BYTES,
    Front,
    RunningEngine,
    gateway_of,
    prepared,
    record,
    started_engine,
)
from tests.gateway.standins import to, until
from tunegate.api.serving import RoutesDocument
from tunegate.api.stage.probe import Probe
from tunegate.gateway.engine import Engine
from tunegate.gateway.settings import Limits

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]
NEW = "late-00000004"
ALONE = RoutesDocument(revision=1, routes={"extract": to(GOOD)}, names=["extract", "later"], approved=[GOOD])
BOTH = RoutesDocument(
    revision=2, routes={"extract": to(GOOD), "later": to(NEW)}, names=["extract", "later"], approved=[GOOD, NEW]
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with started_engine(tmp_path_factory.mktemp("engine")) as running:
        running.write(NEW)  # The good adapter's bytes, under a name of its own: the same probe fits.
        yield running


@pytest.fixture(scope="module")
def probe(engine: RunningEngine) -> Probe:
    return asyncio.run(record(engine))


class Clients:
    """Ask the first model all the time, and remember what they were answered."""

    def __init__(self, stage: Front, count: int = 2) -> None:
        self.answers: list[tuple[int, str]] = []
        self._stage = stage
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(count)]

    async def _ask(self) -> None:
        while True:
            status, told = await self._stage.chat("extract", max_tokens=4)
            text = told["choices"][0]["message"]["content"] if status == 200 else str(told)
            self.answers.append((status, text))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def closed(stage: Front, name: str = "later") -> bool:
    return (await stage.chat(name, max_tokens=2))[0] == 503


async def test_an_adapter_comes_and_goes_and_comes_again_and_clients_of_another_notice_nothing(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    async with prepared(tmp_path, engine, probe, ALONE, GOOD) as ready, gateway_of(ready) as stage:
        assert await closed(stage)
        expected = (await stage.chat("extract", max_tokens=4))[1]["choices"][0]["message"]["content"]
        clients = Clients(stage)
        try:
            for _ in range(2):
                await stage.cluster.put(BOTH)
                await stage.cluster.list(GOOD, NEW)
                await until(lambda: "later" in stage.gateway.routes.open, "open", seconds=300)
                status, told = await stage.chat("later", max_tokens=4)
                assert (status, told["choices"][0]["message"]["content"]) == (200, expected)
                await stage.cluster.put(ALONE.model_copy(update={"revision": 3}))
                await until(lambda: "later" not in stage.gateway.routes.open, "closed")
                assert await closed(stage)
                await stage.cluster.list(GOOD)
                await until(
                    lambda: [one.served_name for one in stage.gateway.adapter_states.adapters] == [GOOD], "unloaded", 60
                )
        finally:
            await clients.end()
        assert len(clients.answers) > 4
        assert set(clients.answers) == {(200, expected)}
        async with Engine(engine.socket, Limits()) as connection:
            assert (await connection.models()).keys() == {"base", GOOD}


async def test_another_adapter_under_an_approved_name_is_found_beside_clients(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    routes = BOTH.model_copy(
        update={"routes": {"extract": to(GOOD), "later": to(OTHER_BYTES)}, "approved": [GOOD, OTHER_BYTES]}
    )
    async with prepared(tmp_path, engine, probe, ALONE, GOOD) as ready, gateway_of(ready) as stage:
        clients = Clients(stage)
        try:
            await stage.cluster.put(routes)
            await stage.cluster.list(GOOD, OTHER_BYTES)
            states = stage.gateway.adapter_states
            await until(
                lambda: "LeftOut" in {one.state for one in states.adapters if one.served_name == OTHER_BYTES},
                "judged",
                300,
            )
            assert await closed(stage)
        finally:
            await clients.end()
        assert {status for status, _ in clients.answers} == {200}


async def test_a_gateway_that_takes_over_probes_what_it_finds_and_unloads_what_is_wanted_no_more(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    async with prepared(tmp_path, engine, probe, BOTH, GOOD, NEW) as ready:
        async with gateway_of(ready) as stage:
            assert (await stage.chat("later", max_tokens=2))[0] == 200
        # Killed without a word: revoked while no gateway ran.
        await ready.cluster.put(ALONE.model_copy(update={"revision": 3}))
        async with Engine(engine.socket, Limits()) as connection:
            assert (await connection.models()).keys() >= {GOOD, NEW}
            async with gateway_of(ready) as stage:
                assert (await stage.chat("extract", max_tokens=2))[0] == 200
                assert await closed(stage)
            assert NEW not in await connection.models()


async def test_weights_move_between_two_releases_under_load_and_nobody_notices(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    async with prepared(tmp_path, engine, probe, BOTH, GOOD, NEW) as ready, gateway_of(ready) as stage:
        await until(lambda: len(stage.gateway.routes.open) == 2, "both open", 300)
        clients = Clients(stage)
        try:
            for number, weight in enumerate((0, 5, 25, 100, 50, 0, 100, 25, 0), 10):
                route = to(GOOD, NEW, weights=(100 - weight, weight))
                await stage.cluster.put(BOTH.model_copy(update={"revision": number, "routes": {"extract": route}}))
                await until(lambda revision=number: stage.gateway.routes.revision == revision, "told")
                asked = len(clients.answers)
                await until(lambda before=asked: len(clients.answers) >= before + 4, "answered", 120)
        finally:
            await clients.end()
        assert len(set(clients.answers)) == 1, "the same bytes under two names answer alike"
        assert clients.answers[0][0] == 200
        counted = {one.served_name for one in stage.gateway.status().traffic}
        assert counted == {GOOD, NEW}


@pytest.mark.attack(20)
async def test_what_somebody_else_loaded_into_the_engine_closes_everything_until_it_is_gone(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    async with (
        prepared(tmp_path, engine, probe, ALONE, GOOD) as ready,
        gateway_of(ready) as stage,
        Engine(engine.socket, Limits()) as connection,
    ):
        await connection.load("stranger", engine.place(OTHER_BYTES))
        await until(lambda: stage.gateway.status().engine == "Tampered", "noticed")
        assert await closed(stage, "extract")
        await connection.unload("stranger")
        await until(lambda: stage.gateway.ready, "ready again", 300)
        assert (await stage.chat("extract", max_tokens=2))[0] == 200


async def test_an_engine_that_is_killed_while_it_loads_holds_everything_again_after_its_start(
    engine: RunningEngine, probe: Probe, tmp_path: Path
) -> None:
    async with prepared(tmp_path, engine, probe, ALONE, GOOD) as ready, gateway_of(ready) as stage:
        await stage.cluster.put(BOTH)
        await stage.cluster.list(GOOD, NEW)
        await until(lambda: NEW in stage.gateway.adapter_states._watch.holds, "being loaded", 60)
        os.killpg(engine.process.pid, signal.SIGKILL)
        engine.process.wait()
        for name in ("extract", "later"):
            assert (await stage.chat(name, max_tokens=2))[0] in (502, 503)
        await asyncio.to_thread(engine.start)
        await until(lambda: stage.gateway.ready, "ready again", 300)
        await until(lambda: len(stage.gateway.routes.open) == 2, "both open", 300)
        for name in ("extract", "later"):
            assert (await stage.chat(name, max_tokens=2))[0] == 200
