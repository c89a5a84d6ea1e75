"""What a gateway keeps of releases does not grow with how many there were."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.standins import DEAD, GOOD, Scene, scene, to, until
from tunegate.api.serving import GatewayStatus, OpenShadow, RoutesDocument
from tunegate.controllers.modelserver.gateways import LARGEST_BYTES
from tunegate.gateway import gateway
from tunegate.gateway.routes import RouteTable


def test_only_what_a_route_holds_is_counted_and_told() -> None:
    table = RouteTable()
    for number in range(2000):
        served, shadow = f"extract-v{number}-{number:08x}", f"next-v{number}-{number:08x}"
        route = to(served).model_copy(update={"shadow": OpenShadow(served_name=shadow, percent=100)})
        table.follow(RoutesDocument(routes={"extract": route}, approved=[served, shadow]))
        for name, copied in ((served, False), (shadow, True), ("left-00000009", False)):
            one = table.traffic.begin("extract", name, shadow=copied)
            one.finished = True
            one.end()
    told = table.traffic.told
    assert [(one.served_name, one.shadow, one.requests) for one in told] == [(served, False, 1), (shadow, True, 1)]
    status = GatewayStatus(engine="Ready", ready=True, traffic=told)
    assert len(status.model_dump_json()) < LARGEST_BYTES / 100


def test_a_release_that_stays_is_counted_on_when_another_comes() -> None:
    table = RouteTable()
    for targets in (to(GOOD), to(GOOD, DEAD, weights=(90, 10))):
        table.follow(RoutesDocument(routes={"extract": targets}, approved=[GOOD, DEAD]))
        one = table.traffic.begin("extract", GOOD)
        one.finished = True
        one.end()
    assert [(one.served_name, one.requests) for one in table.traffic.told] == [(GOOD, 2)]


async def numbers(stage: Scene) -> str:
    async with stage.http.get(f"{stage.status_url}/metrics") as answer:
        return await answer.text()


async def test_series_of_an_adapter_that_is_gone_stay_for_a_last_look_and_then_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as stage:
        assert (await stage.ask("extract"))[0] == (await stage.ask("base"))[0] == 200
        await stage.cluster.list(DEAD)
        await until(lambda: GOOD in stage.gateway._gone, "gone")
        requests = 'tunegate_gateway_requests_total{endpoint="/v1/chat/completions",model="%s",status="200"} 1.0'
        text = await numbers(stage)
        assert requests % GOOD in text
        assert f'adapter_held{{model="{GOOD}"}}' not in text
        monkeypatch.setattr(gateway, "SERIES_SECONDS", 0.0)
        await until(lambda: GOOD not in stage.gateway._gone, "forgotten")
        text = await numbers(stage)
        assert GOOD not in text
        assert requests % "base" in text
        await stage.cluster.list(GOOD)
        await until(lambda: GOOD in stage.gateway.routes.open_names, "back")
        assert (await stage.ask("extract"))[0] == 200
        assert requests % GOOD in await numbers(stage)
