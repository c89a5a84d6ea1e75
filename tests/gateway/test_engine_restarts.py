"""An engine that was started again answers nobody before its adapters were probed again, however soon it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.gateway.standins import ScriptedEngine, scene, until


@asynccontextmanager
async def listening(engine: ScriptedEngine, socket: Path, keepalive_seconds: float = 75.0) -> AsyncIterator[None]:
    runner = web.AppRunner(engine.app(), shutdown_timeout=1, keepalive_timeout=keepalive_seconds)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_an_engine_that_is_back_before_the_next_look_is_probed_again(tmp_path: Path) -> None:
    restarted = ScriptedEngine()
    async with scene(tmp_path) as stage, listening(restarted, tmp_path / "new.sock"):
        assert (await stage.ask("extract"))[0] == 200
        restarted.tuned = False
        (tmp_path / "new.sock").replace(stage.settings.engine_socket)
        status, told, _ = await stage.ask("extract")
        assert (status, told["error"]["code"]) == (503, "engine_not_ready")
        assert "started again" in told["error"]["message"]
        await until(lambda: stage.gateway.ready, "probed again")
        assert (await stage.ask("extract"))[0] == 503
        assert (await stage.ask("base"))[0] == 200
        assert [body["model"] for _, body, _ in restarted.seen] == ["base"]


async def test_a_socket_that_is_gone_closes_everything_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        stage.settings.engine_socket.rename(tmp_path / "away.sock")
        assert (await stage.ask("extract"))[0] == 503
        assert not stage.gateway.ready
        await asyncio.to_thread((tmp_path / "away.sock").rename, stage.settings.engine_socket)
        await until(lambda: stage.gateway.ready, "ready again")
        assert (await stage.ask("extract"))[0] == 200


async def test_an_engine_that_hangs_up_kept_connections_costs_no_client_an_answer(tmp_path: Path) -> None:
    restless = ScriptedEngine()
    async with scene(tmp_path) as stage, listening(restless, tmp_path / "new.sock", keepalive_seconds=0.02):
        (tmp_path / "new.sock").replace(stage.settings.engine_socket)
        await stage.ask("base")
        await until(lambda: stage.gateway.ready, "probed again")
        for pause in (0.0, 0.015, 0.018, 0.02, 0.022, 0.025, 0.03) * 5:
            await asyncio.sleep(pause)
            assert (await stage.ask("extract"))[0] == 200
        assert len(restless.seen) >= 35
