"""Routes that cannot be read, or that are not the operator's, close: anyone who keeps a gateway from reading gains nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.standins import DEAD, GOOD, apart, routes, scene, to, until

SHORT = 2
STREAM = {"model": "extract", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


@pytest.mark.attack(53)
async def test_routes_that_cannot_be_read_any_more_close_and_cut_what_is_being_answered(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await stage.cluster.put(routes(revision=2, valid_seconds=SHORT))
        await until(lambda: stage.gateway.routes.revision == 2, "told the new routes")
        stage.engine.go.clear()
        async with stage.http.post(f"{stage.url}/v1/chat/completions", json=STREAM, headers=stage.headers) as answer:
            await answer.content.readline()
            stage.cluster.away = True
            await stage.cluster.put(routes(revision=3, valid_seconds=SHORT))
            with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(answer.content.read(), 40)
        status, body, _ = await stage.ask("extract")
        assert (status, body["error"]["code"]) == (503, "route_closed")
        said = stage.gateway.status()
        assert (said.ready, said.routes, said.answering) == (False, {}, [])
        assert "could not be read" in said.message
        assert said.routes_age_seconds >= SHORT
        stage.engine.go.set()
        stage.cluster.away = False
        await until(lambda: stage.gateway.routes.revision == 3, "told the new routes", seconds=30)
        assert (await stage.ask("extract"))[0] == 200
        assert stage.gateway.status().answering == [GOOD]


@pytest.mark.attack(53)
@pytest.mark.parametrize("moved_on", [False, True])
async def test_a_request_is_cut_when_its_override_ends_whether_or_not_a_route_changes_then(
    tmp_path: Path, moved_on: bool
) -> None:
    async with scene(tmp_path) as stage:
        table, end = stage.gateway.routes, datetime.now(UTC) + timedelta(hours=1)
        stage.gateway._hold(frozenset({GOOD, DEAD}))
        stage.engine.go.clear()
        async with stage.http.post(f"{stage.url}/v1/chat/completions", json=STREAM, headers=stage.headers) as answer:
            await answer.content.readline()
            leads = {"extract": to(DEAD if moved_on else GOOD)}
            await stage.cluster.put(routes(revision=2, routes=leads, closes={GOOD: end}))
            await until(lambda: table.revision == 2, "told the new routes")
            assert stage.gateway.in_flight.served == {GOOD}
            table._clock = lambda: end
            stage.gateway._hold(frozenset({GOOD, DEAD}))  # An adapter came or went in this moment.
            await until(stage.engine.aborted.is_set, "cut")
            with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(answer.content.read(), 40)


@pytest.mark.attack(53)
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"ownerReferences": []}, "owner"),
        ({"ownerReferences": [{"kind": "ModelServer", "name": "server", "uid": "of-an-older-one"}]}, "owner"),
        ({"labels": {}}, "labels"),
        ({"labels": {"app.kubernetes.io/managed-by": "tunegate", "tunegate.io/server": "another"}}, "labels"),
    ],
)
async def test_routes_that_are_not_the_operators_are_not_followed(
    tmp_path: Path, changed: dict[str, Any], why: str
) -> None:
    async with apart(tmp_path) as gateway:
        assert (await gateway.ask())[0] == 200
        honest = dict(gateway.cluster.routes.metadata)
        gateway.cluster.routes.metadata |= changed
        await gateway.cluster.put(routes(revision=7))
        status = await gateway.told(lambda said: said["routes"] == {})
        assert why in status["message"]
        assert status["ready"] is False
        assert (await gateway.ask())[0] in {404, 503}
        gateway.cluster.routes.metadata = honest
        await gateway.cluster.put(routes(revision=8))
        await gateway.told(lambda said: said["routes"] != {})
        assert (await gateway.ask())[0] == 200


async def test_a_watcher_that_dies_is_started_again_and_no_client_is_sent_here_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as stage:

        def fail(*_: Any) -> None:
            raise RuntimeError("a fault that nobody foresaw")

        monkeypatch.setattr(stage.gateway.routes, "follow", fail)
        await stage.cluster.put(routes(revision=2))
        await until(lambda: "RuntimeError" in stage.gateway.status().message, "said")
        await until(lambda: not stage.gateway.ready, "unready")
        assert "nobody foresaw" not in stage.gateway.status().watchers["routes"]
        monkeypatch.undo()
        await until(lambda: stage.gateway.routes.revision == 2, "followed again", seconds=30)
        await until(lambda: stage.gateway.ready, "ready again")
        assert stage.gateway.status().message == ""
        async with stage.http.get(f"{stage.status_url}/metrics") as answer:
            assert 'tunegate_gateway_watcher_restarts_total{watcher="routes"}' in await answer.text()
