"""A gateway is reached by clients, kubelet and operator over IPv4 and over IPv6."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.standins import stand_ins, until
from tunegate.gateway.app import running


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_both_ports_answer_on_ipv4_and_ipv6(tmp_path: Path, host: str) -> None:
    async with (
        stand_ins(tmp_path) as (_, _, _, settings),
        running(replace(settings, host=None)) as gateway,
        aiohttp.ClientSession() as http,
    ):
        await until(lambda: gateway.ready, "ready")
        for port, path in ((settings.port, "healthz"), (settings.port, "readyz"), (settings.status_port, "status")):
            async with http.get(f"http://{host}:{port}/{path}") as answer:
                assert answer.status == 200
