"""The gateway as clients, operator and kubelet see it, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.gateway.standins import (
    DEAD,
    DIES,
    EXPLODES,
    FLIPPED,
    GOOD,
    KEY,
    KNOWN_TOKEN,
    Scene,
    routes,
    scene,
    to,
    until,
)
from tunegate.api.routes import Canary
from tunegate.api.serving import RoutesDocument, Traffic
from tunegate.gateway.app import drain
from tunegate.gateway.settings import Limits

HELLO = [{"role": "user", "content": "Hello"}]


async def metrics(stage: Scene) -> str:
    async with stage.http.get(f"{stage.status_url}/metrics") as answer:
        return await answer.text()


async def test_a_request_reaches_the_adapter_behind_the_route(stage: Scene) -> None:
    status, body, headers = await stage.ask("extract")
    assert status == 200
    assert body["model"] == "extract"
    assert headers["X-Tunegate-Served-Name"] == GOOD
    path, sent, sent_headers = stage.engine.seen[-1]
    assert (path, sent["model"]) == ("/v1/chat/completions", GOOD)
    assert KEY not in json.dumps(sent_headers)


async def test_a_session_stays_with_its_release_and_the_answer_names_it(stage: Scene) -> None:
    _, _, headers = await stage.ask("extract")
    assert headers["X-Tunegate-Release"] == "good"
    assert "X-Tunegate-Release" not in (await stage.ask("base"))[2]
    stage.gateway.routes.hold(frozenset({GOOD, DEAD}))
    both = to(GOOD, DEAD, weights=(50, 50))
    await stage.cluster.put(routes(revision=2, routes={"extract": both}))
    await until(lambda: stage.gateway.routes.revision == 2, "told the new routes")

    async def answered(session: str) -> str:
        sent = {**stage.headers, "X-Tunegate-Session": session} if session else stage.headers
        status, _, told = await stage.post(
            "/v1/chat/completions", {"model": "extract", "messages": HELLO}, headers=sent
        )
        assert status == 200
        assert told["X-Tunegate-Served-Name"].startswith(told["X-Tunegate-Release"])
        return told["X-Tunegate-Release"]

    sessions = {f"conversation {number}": await answered(f"conversation {number}") for number in range(20)}
    assert set(sessions.values()) == {"good", "dead"}
    assert {name: await answered(name) for name in sessions} == sessions
    assert len({await answered("") for _ in range(10)}) == 1, "without a session a client stays as a whole"
    text = await metrics(stage)
    assert f'tunegate_gateway_requests_total{{endpoint="/v1/chat/completions",model="{DEAD}",status="200"}}' in text


async def test_the_operator_is_told_what_each_release_did_at_a_step(stage: Scene) -> None:
    def step(number: int) -> RoutesDocument:
        canary = Canary(state="Stepping", stable=DEAD, candidate=GOOD, step=number, start_time="2026-01-01T00:00:00Z")
        return routes(revision=1 + number, routes={"extract": to(GOOD).model_copy(update={"canary": canary})})

    def told() -> list[Traffic]:
        return stage.gateway.status().traffic

    await stage.cluster.put(step(1))
    await until(lambda: stage.gateway.routes.revision == 2, "told the new routes")
    await stage.ask("extract")
    whole = {"model": "extract", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    for body in (whole, {**whole, "seed": DIES}):
        with contextlib.suppress(aiohttp.ClientError):
            async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=stage.headers) as answer:
                await answer.read()
    assert (await stage.ask("extract", seed=DIES))[0] == 502
    assert (await stage.ask("extract", seed=EXPLODES))[0] == 400, (
        "what a client asks wrongly is not the release's fault"
    )
    await stage.ask("base")
    stage.engine.go.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stage.ask("extract"), 0.3)
    stage.engine.go.set()
    await until(lambda: not len(stage.gateway.in_flight), "given up")
    (counted,) = told()
    assert (counted.route, counted.served_name, counted.window) == ("extract", GOOD, f"{GOOD}/1/2026-01-01T00:00:00Z")
    assert (counted.requests, counted.errors, counted.tokens, sum(counted.seconds.values())) == (4, 2, 4, 2)
    await stage.cluster.put(step(2))
    await until(lambda: stage.gateway.routes.revision == 3, "told the next step")
    assert told() == []


async def test_base_is_reachable_and_listed_beside_the_open_routes(stage: Scene) -> None:
    assert (await stage.ask("base"))[0] == 200
    async with stage.http.get(f"{stage.url}/v1/models", headers=stage.headers) as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == ["base", "extract"]


async def test_a_route_that_nothing_was_approved_for_yet_is_closed_rather_than_unknown(stage: Scene) -> None:
    status, told, headers = await stage.ask("future")
    assert (status, told["error"]["code"], headers["Retry-After"]) == (503, "route_closed", "10")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("extract", 200, None), ("base", 200, None), ("future", 503, "route_closed"), (GOOD, 404, "model_not_found"),
        ("unknown", 404, "model_not_found"), ("a/b", 404, "no_such_endpoint"), ("%ff", 404, "model_not_found"),
    ],
)  # fmt: skip
async def test_a_client_can_ask_about_one_model(stage: Scene, name: str, status: int, code: str | None) -> None:
    async with stage.http.get(URL(f"{stage.url}/v1/models/{name}", encoded=True), headers=stage.headers) as answer:
        told = await answer.json()
    assert answer.status == status
    assert (told["error"]["code"] if code else told["id"]) == (code or name)
    async with stage.http.get(f"{stage.url}/v1/models/extract") as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("sent", "temperature"),
    [({}, 0), ({"temperature": 0.7}, 0.7), ({"temperature": None}, 0), ({"top_p": 0.9}, None), ({"n": 2}, None)],
)
async def test_a_client_that_says_nothing_of_sampling_is_answered_as_the_gate_was(
    stage: Scene, sent: dict[str, object], temperature: float | None
) -> None:
    for path, question in (("/v1/chat/completions", {"messages": HELLO}), ("/v1/completions", {"prompt": "Hello"})):
        assert (await stage.post(path, {"model": "extract", **question, **sent}))[0] == 200
        assert stage.engine.seen[-1][1].get("temperature") == temperature


TOOL = {"type": "function", "function": {"name": "find_holder", "parameters": {"type": "object", "properties": {}}}}


async def test_tools_are_refused_with_what_to_set_where_the_engine_has_no_parser(stage: Scene) -> None:
    for sent in ({"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": "auto"}):
        status, told, _ = await stage.ask(**sent)
        assert (status, told["error"]["code"], told["error"]["param"]) == (400, "tools_not_enabled", "tools")
        assert "spec.toolParser" in told["error"]["message"]
    assert not stage.engine.seen
    for choice in ("none", "required", {"type": "function", "function": {"name": "find_holder"}}):
        assert (await stage.ask(tools=[TOOL], tool_choice=choice))[0] == 200
    assert len(stage.engine.seen) == 3


async def test_tools_reach_an_engine_with_a_parser(tmp_path: Path) -> None:
    async with scene(tmp_path, Limits(tool_calls=True)) as stage:
        assert (await stage.ask(tools=[TOOL]))[0] == 200
        assert stage.engine.seen[-1][1]["tools"] == [TOOL]


@pytest.mark.parametrize("model", [GOOD, DEAD, "unknown"])
async def test_served_names_and_unknown_names_do_not_exist(stage: Scene, model: str) -> None:
    status, body, _ = await stage.ask(model)
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert not stage.engine.seen


async def test_an_adapter_that_answers_as_the_base_is_left_out_and_its_route_stays_closed(stage: Scene) -> None:
    status, body, headers = await stage.ask("worthless")
    assert (status, body["error"]["code"]) == (503, "route_closed")
    assert "Retry-After" in headers
    async with stage.http.get(f"{stage.status_url}/status") as answer:
        told = await answer.json()
    states = {entry["servedName"]: (entry["state"], entry["reason"]) for entry in told["adapters"]}
    assert states[GOOD] == ("Ready", "")
    assert states[DEAD][0] == "LeftOut"
    assert "like the base model" in states[DEAD][1]
    assert states[FLIPPED] == ("LeftOut", "a byte differs")
    assert told["routes"] == {"extract": {GOOD: 100}}
    assert told["ready"] is True


@pytest.mark.attack(20)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/load_lora_adapter"), ("POST", "/adapters"), ("DELETE", "/adapters/x"), ("POST", "/invocations"),
        ("POST", "/tokenize"), ("GET", "/metrics"), ("GET", "/status"), ("GET", "/v1/responses/resp_1"), ("GET", "/docs"),
        ("POST", "/v1/chat/completions/"), ("POST", "/v1/chat/../../adapters"), ("PUT", "/v1/chat/completions"),
        ("POST", "/update_weights"), ("POST", "/v1/messages/count_tokens"), ("POST", "/sleep"),
    ],
)  # fmt: skip
async def test_no_other_endpoint_exists(stage: Scene, method: str, path: str) -> None:
    async with stage.http.request(method, stage.url + path, json={}, headers=stage.headers) as answer:
        assert answer.status in {404, 405}
        assert (await answer.json())["error"]["code"] == "no_such_endpoint"
    assert not stage.engine.seen


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"X-Api-Key": KEY}])
async def test_strangers_get_nothing(stage: Scene, headers: dict[str, str]) -> None:
    status, body, answered = await stage.post("/v1/chat/completions", {"model": "base"}, headers=headers)
    assert (status, body["error"]["type"]) == (401, "authentication_error")
    assert answered["WWW-Authenticate"].startswith("Bearer")
    async with stage.http.get(f"{stage.url}/v1/models", headers=headers) as answer:
        assert answer.status == 401
    assert not stage.engine.seen


async def test_a_cluster_token_of_an_allowed_group_is_admitted(stage: Scene) -> None:
    stage.headers = {"Authorization": f"Bearer {KNOWN_TOKEN}"}
    assert (await stage.ask())[0] == 401
    await stage.cluster.put(routes(kubernetes_groups=["analysts"]))
    await until(lambda: stage.gateway.routes.groups == ("analysts",), "told the groups")
    assert (await stage.ask())[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"no json", 400, "invalid_json"),
        (b"[1]", 400, "invalid_json"),
        (b'{"model": NaN}', 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"prompt": "x"}', 400, "field_missing"),
        (b'{"model": 7}', 400, "invalid_field"),
        (b'{"model": "base", "kv_transfer_params": {}}', 400, "field_not_allowed"),
        (b'{"model": "base", "priority": -9}', 400, "field_not_allowed"),
        (b'{"model": "base", "prompt_logprobs": 0}', 400, "field_not_allowed"),
        (b'{"model": "base", "echo": true}', 400, "invalid_field"),
        (b'{"model": "' + b"x" * 9_000_000 + b'"}', 413, "body_too_large"),
    ],
)
async def test_bad_bodies_are_refused_in_the_form_of_openai(stage: Scene, body: bytes, status: int, code: str) -> None:
    headers = {**stage.headers, "Content-Type": "application/json"}
    found, answer, _ = await stage.post("/v1/completions", None, data=body, headers=headers, json=None)
    assert (found, answer["error"]["code"]) == (status, code)
    assert not stage.engine.seen


async def test_other_content_types_are_refused(stage: Scene) -> None:
    found, answer, _ = await stage.post("/v1/completions", None, data="model=base", json=None, headers=stage.headers)
    assert (found, answer["error"]["code"]) == (415, "unsupported_media_type")


async def test_errors_of_the_engine_come_through_under_the_public_name(stage: Scene) -> None:
    status, body, _ = await stage.ask(seed=EXPLODES)
    assert (status, body["error"]["message"]) == (400, "model extract broke")


async def test_a_dying_engine_tells_clients_nothing_about_itself(stage: Scene) -> None:
    status, body, _ = await stage.ask(seed=DIES)
    assert (status, body["error"]["code"]) == (502, "engine_failed")
    assert "secret" not in json.dumps(body)


async def test_a_stream_passes_through_and_its_tokens_are_counted(stage: Scene) -> None:
    body = {"model": "extract", "messages": HELLO, "stream": True}
    async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=stage.headers) as answer:
        assert answer.content_type == "text/event-stream"
        text = await answer.text()
    assert text.count("data:") == 3
    assert text.endswith("data: [DONE]\n\n")
    assert GOOD not in text
    assert f'tunegate_gateway_tokens_total{{kind="completion",model="{GOOD}"}} 2.0' in await metrics(stage)


async def test_a_stream_arrives_piece_by_piece(stage: Scene) -> None:
    stage.engine.go.clear()
    body = {"model": "extract", "messages": HELLO, "stream": True}
    async with stage.http.post(f"{stage.url}/v1/chat/completions", json=body, headers=stage.headers) as answer:
        first = await asyncio.wait_for(answer.content.readline(), 5)
        assert b'"a"' in first
        stage.engine.go.set()
        assert b"[DONE]" in await answer.content.read()


async def test_metrics_name_releases_and_never_what_clients_made_up(stage: Scene) -> None:
    await stage.ask("extract")
    await stage.ask("made-up-by-a-client")
    text = await metrics(stage)
    labels = f'endpoint="/v1/chat/completions",model="{GOOD}",status="200"'
    assert f"tunegate_gateway_requests_total{{{labels}}} 1.0" in text
    assert 'tunegate_gateway_refused_total{reason="model_not_found"} 1.0' in text
    assert f'tunegate_gateway_adapter_held{{model="{GOOD}"}} 1.0' in text
    assert f'tunegate_gateway_adapter_held{{model="{DEAD}"}} 0.0' in text
    assert "made-up" not in text


async def test_a_client_that_leaves_frees_the_engine(stage: Scene) -> None:
    stage.engine.go.clear()
    asking = asyncio.create_task(stage.ask("extract"))
    await asyncio.wait_for(stage.engine.begun.wait(), 5)
    asking.cancel()
    await asyncio.wait_for(stage.engine.aborted.wait(), 5)


async def test_too_many_at_once_are_told_to_come_back(tmp_path: Path) -> None:
    async with scene(tmp_path, Limits(sequences=2, queue_seconds=0.2)) as stage:
        stage.engine.go.clear()
        first = asyncio.create_task(stage.ask("extract"))
        await asyncio.wait_for(stage.engine.begun.wait(), 5)
        status, body, headers = await stage.ask("extract")
        assert (status, body["error"]["code"], headers["Retry-After"]) == (429, "too_many_requests", "1")
        stage.engine.go.set()
        assert (await first)[0] == 200


async def test_a_silent_engine_ends_in_a_gateway_timeout(tmp_path: Path) -> None:
    async with scene(tmp_path, Limits(silence_seconds=0.3)) as stage:
        stage.engine.go.clear()
        status, body, _ = await stage.ask("extract")
        assert (status, body["error"]["code"]) == (504, "engine_failed")


async def test_draining_finishes_what_was_begun(stage: Scene) -> None:
    stage.engine.go.clear()
    asking = asyncio.create_task(stage.ask("extract"))
    await asyncio.wait_for(stage.engine.begun.wait(), 5)
    leaving = asyncio.create_task(drain(stage.gateway, stage.settings))
    await asyncio.sleep(0.3)
    async with stage.http.get(f"{stage.url}/readyz") as answer:
        assert answer.status == 503
    assert not leaving.done()
    stage.engine.go.set()
    assert (await asking)[0] == 200
    await asyncio.wait_for(leaving, 5)
