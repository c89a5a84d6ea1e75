"""Somebody sends many made-up Kubernetes tokens: the API server is asked a few times a second, and others get in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.standins import KNOWN_TOKEN, Apart, apart, routes, token, until
from tunegate.gateway.access import REFUSAL_COST_SECONDS, REVIEWS_AT_ONCE

SENT = 100
ELSEWHERE = "127.0.0.2"


async def status_of(http: aiohttp.ClientSession, gateway: Apart, sent: str) -> int:
    async with http.get(f"{gateway.url}/v1/models", headers={"Authorization": f"Bearer {sent}"}) as answer:
        return answer.status


@pytest.mark.attack(63)
async def test_made_up_tokens_cost_few_questions_and_hold_up_no_other_address(tmp_path: Path) -> None:
    connector = aiohttp.TCPConnector(local_addr=(ELSEWHERE, 0))
    async with apart(tmp_path) as gateway, aiohttp.ClientSession(connector=connector) as elsewhere:
        await gateway.cluster.put(routes(revision=2, kubernetes_groups=["analysts"]))
        await gateway.told(lambda said: said["routesRevision"] == 2)
        begun = asyncio.get_running_loop().time()
        flood = [asyncio.create_task(status_of(gateway.http, gateway, token(str(number)))) for number in range(SENT)]
        await until(lambda: gateway.cluster.reviewed, "asked about the first of them")
        assert await status_of(elsewhere, gateway, KNOWN_TOKEN) == 200
        assert not all(task.done() for task in flood), "the others were still waiting"
        statuses = await asyncio.gather(*flood)
        seconds = asyncio.get_running_loop().time() - begun
    assert set(statuses) == {401, 429}
    assert len(gateway.cluster.reviewed) <= REVIEWS_AT_ONCE * (seconds / REFUSAL_COST_SECONDS + 1)
    assert len(gateway.cluster.reviewed) < SENT
