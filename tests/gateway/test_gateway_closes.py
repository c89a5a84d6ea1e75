"""What closes routes of a running gateway, or stops it, and what does not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.standins import (
    DEAD,
    GOOD,
    Scene,
    routes,
    scene,
    until,
)
from tunegate.api.manifest import Manifest
from tunegate.api.serving import ServedBase, ServerDocument
from tunegate.digests import document_digest
from tunegate.errors import Terminal
from tunegate.gateway.settings import in_pod
from tunegate.mounted import ConfigurationDiffers

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.attack(26)
async def test_a_revocation_closes_the_route_at_once_and_cuts_what_is_being_answered(stage: Scene) -> None:
    stage.engine.go.clear()
    body = {"model": "extract", "messages": HELLO, "stream": True}
    async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=stage.headers) as answer:
        await answer.content.readline()
        await stage.cluster.put(routes(revision=2, routes={}, approved=[DEAD]))
        with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(answer.content.read(), 5)
    await asyncio.wait_for(stage.engine.aborted.wait(), 5)
    status, told, headers = await stage.ask("extract")
    assert (status, told["error"]["code"], headers["Retry-After"]) == (503, "route_closed", "10")
    await until(lambda: len(stage.gateway.in_flight) == 0, "done")


@pytest.mark.attack(42)
async def test_what_an_override_opened_is_closed_and_cut_in_time_while_the_operator_is_away(stage: Scene) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=2)
    await stage.cluster.put(routes(revision=2, closes={GOOD: ends}))
    await until(lambda: stage.gateway.routes.revision == 2, "told the new routes")
    stage.cluster.away = True
    stage.engine.go.clear()
    body = {"model": "extract", "messages": HELLO, "stream": True}
    async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=stage.headers) as answer:
        assert answer.status == 200
        await answer.content.readline()
        with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(answer.content.read(), 8)
    assert datetime.now(UTC) >= ends
    assert (await stage.ask("extract"))[0] == 503
    assert "extract" not in stage.gateway.routes.open


async def test_a_deleted_config_map_closes_every_route(stage: Scene) -> None:
    await stage.cluster.put(None)
    await until(lambda: stage.gateway.routes.open == {}, "closed")
    assert "does not exist" in stage.gateway.status().message
    assert (await stage.ask("base"))[0] == 200


async def test_a_config_map_without_routes_closes_every_route(stage: Scene) -> None:
    stage.cluster.routes.text = ""
    await stage.cluster.put(routes(revision=2))
    await until(lambda: stage.gateway.routes.open == {}, "closed")
    assert "has no routes.json" in stage.gateway.status().message
    assert (await stage.ask("extract"))[0] == 503


async def test_the_last_known_routes_hold_while_the_api_server_is_away(stage: Scene) -> None:
    stage.cluster.away = True
    await stage.cluster.put(routes(revision=2, routes={}))
    await until(lambda: stage.cluster.refused > 1, "asked in vain, twice")
    assert (await stage.ask("extract"))[0] == 200
    stage.cluster.away = False
    await until(lambda: stage.gateway.routes.revision == 2, "told the new routes")
    assert (await stage.ask("extract"))[0] == 503


@pytest.mark.attack(20)
async def test_a_name_that_nobody_approved_in_the_engine_stops_everything(stage: Scene) -> None:
    stage.engine.models["stranger"] = "/elsewhere"
    await until(lambda: stage.gateway.status().engine == "Tampered", "noticed")
    assert (await stage.ask("extract"))[0] == 503
    assert (await stage.ask("base"))[0] == 503
    async with stage.http.get(f"{stage.url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (503, {"ready": False}), "clients are told nothing else"
    assert "stranger" in stage.gateway.status().message


@pytest.mark.attack(58)
async def test_base_weights_that_were_replaced_since_they_were_hashed_stop_everything(tmp_path: Path) -> None:
    """At each probing, since the engine reads its weights when it starts: the same bytes again prove nothing."""
    async with scene(tmp_path) as stage:
        weights = tmp_path / "base-model/model.safetensors"
        weights.write_bytes(weights.read_bytes())
        stage.engine.alive = False
        await until(lambda: not stage.gateway.ready, "noticed")
        stage.engine.alive = True
        await until(lambda: stage.gateway.status().engine == "Tampered", "noticed")
        assert (await stage.ask("extract"))[0] == 503
        async with stage.http.get(f"{stage.url}/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"ready": False})
        assert "model.safetensors was replaced" in stage.gateway.status().message


@pytest.mark.attack(51)
async def test_a_gateway_with_other_documents_than_its_pod_was_made_with_does_not_start(tmp_path: Path) -> None:
    document = ServerDocument(
        namespace="team", server="server", server_uid="uid", registry_host="registry:5000", max_lora_rank=16, max_cpu_loras=3,
        base=ServedBase(name="base", path="/mnt/base", manifest=Manifest(files=[]), manifest_digest=f"sha256:{'0' * 64}"),
    )  # fmt: skip
    data = {"server.json": document.model_dump_json(by_alias=True)}
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    settings = in_pod(document_digest(data), environment, tmp_path)
    assert (settings.server, settings.most_adapters, settings.credential_secret) == ("server", 3, None)
    with pytest.raises(Terminal, match="TUNEGATE_BODY_BYTES is no setting"):
        in_pod(document_digest(data), environment | {"TUNEGATE_BODY_BYTES": "1"}, tmp_path)
    (tmp_path / "server.json").write_text(data["server.json"].replace('"team"', '"evil"'))
    with pytest.raises(ConfigurationDiffers, match="somebody replaced the ConfigMap"):
        in_pod(document_digest(data), environment, tmp_path)


async def test_after_an_engine_failure_adapters_are_probed_again(stage: Scene) -> None:
    stage.engine.alive = False
    await until(lambda: not stage.gateway.ready, "noticed")
    assert stage.gateway.routes.open == {}
    stage.engine.alive = True
    await until(lambda: stage.gateway.ready, "ready again")
    assert (await stage.ask("extract"))[0] == 200
