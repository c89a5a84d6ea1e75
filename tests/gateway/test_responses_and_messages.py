"""`/v1/responses` and `/v1/messages`: the same door, in the form that clients of these APIs know."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.standins import EXPLODES, GOOD, KEY, Scene, scene
from tunegate.api.asked import AskedAs
from tunegate.gateway.endpoints import MESSAGES, RESPONSES
from tunegate.gateway.settings import Limits

GATE = "Answer with the holder."
ASKED_AS = AskedAs(max_tokens=48, system_prompt=GATE)
TURNS = [{"role": "user", "content": "Hello"}]
SENT: dict[str, dict[str, Any]] = {
    RESPONSES: {"model": "extract", "input": "Hello"},
    MESSAGES: {"model": "extract", "messages": TURNS, "max_tokens": 16},
}
INSTRUCTION = {RESPONSES: "instructions", MESSAGES: "system"}
BOTH = pytest.mark.parametrize("path", [RESPONSES, MESSAGES])


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, asked_as=ASKED_AS) as running:
        yield running


@BOTH
async def test_an_answer_comes_from_the_adapter_behind_the_route_under_the_public_name(stage: Scene, path: str) -> None:
    status, told, headers = await stage.post(path, SENT[path])
    assert (status, told["model"], headers["X-Tunegate-Served-Name"]) == (200, "extract", GOOD)
    assert stage.engine.seen[-1][0] == path
    assert stage.engine.seen[-1][1]["model"] == GOOD


@BOTH
async def test_a_stream_carries_the_public_name_and_every_text_and_is_counted(stage: Scene, path: str) -> None:
    async with stage.http.post(stage.url + path, json={**SENT[path], "stream": True}, headers=stage.headers) as answer:
        raw = (await answer.read()).decode()
    assert answer.status == 200
    events = [json.loads(line.removeprefix("data:")) for line in raw.splitlines() if line.startswith("data:")]
    types = [line.removeprefix("event: ") for line in raw.splitlines() if line.startswith("event: ")]
    assert types == [event["type"] for event in events]
    named = [
        inner["model"] for event in events for inner in event.values() if isinstance(inner, dict) and "model" in inner
    ]
    assert named
    assert set(named) == {"extract"}
    texts = [event["delta"] for event in events if event["type"].endswith("delta") and "delta" in event]
    assert [text if isinstance(text, str) else text.get("text") for text in texts][:2] == ["a", "b"]
    async with stage.http.get(f"{stage.status_url}/metrics") as answer:
        numbers = await answer.text()
    assert f'tunegate_gateway_tokens_total{{kind="prompt",model="{GOOD}"}} 5.0' in numbers
    assert f'tunegate_gateway_tokens_total{{kind="completion",model="{GOOD}"}} 2.0' in numbers


@BOTH
async def test_what_a_client_leaves_out_is_as_it_was_at_the_gate(stage: Scene, path: str) -> None:
    await stage.post(path, SENT[path])
    asked = stage.engine.seen[-1][1]
    assert (asked["temperature"], asked[INSTRUCTION[path]]) == (0, GATE)
    assert asked.get("max_output_tokens", asked.get("max_tokens")) == (48 if path == RESPONSES else 16)
    await stage.post(path, {**SENT[path], INSTRUCTION[path]: "Answer in French.", "temperature": 0.5})
    asked = stage.engine.seen[-1][1]
    assert (asked["temperature"], asked[INSTRUCTION[path]]) == (0.5, "Answer in French.")


async def test_an_instruction_among_the_turns_replaces_that_of_the_gate(stage: Scene) -> None:
    turns = [{"role": "developer", "content": "Answer in French."}, *TURNS]
    await stage.post(RESPONSES, {"model": "extract", "input": turns})
    assert "instructions" not in stage.engine.seen[-1][1]
    await stage.post(MESSAGES, {**SENT[MESSAGES], "messages": [{**turns[0], "role": "system"}, *TURNS]})
    assert "system" not in stage.engine.seen[-1][1]


@pytest.mark.parametrize("sent", [{}, {"store": True}, {"store": False}])
async def test_the_engine_is_told_to_store_no_response_whatever_the_client_sends(
    stage: Scene, sent: dict[str, Any]
) -> None:
    assert (await stage.post(RESPONSES, {**SENT[RESPONSES], **sent}))[0] == 200
    assert stage.engine.seen[-1][1]["store"] is False


@pytest.mark.parametrize(
    "sent",
    [
        {"previous_response_id": "resp_1"}, {"background": True}, {"conversation": "conv_1"}, {"prompt": {"id": "p"}},
        {"previous_input_messages": []}, {"enable_response_messages": True}, {"request_id": "resp_mine"},
    ],
)  # fmt: skip
async def test_what_would_reach_another_request_is_refused_by_name(stage: Scene, sent: dict[str, Any]) -> None:
    status, told, _ = await stage.post(RESPONSES, {**SENT[RESPONSES], **sent})
    (name,) = sent
    assert (status, told["error"]["param"]) == (400, name)
    assert not stage.engine.seen


@pytest.mark.parametrize("path", ["/v1/responses/resp_1", "/v1/responses/resp_1/cancel", "/v1/messages/batches"])
async def test_there_is_nothing_to_read_or_stop_later(stage: Scene, path: str) -> None:
    for method in ("GET", "POST"):
        async with stage.http.request(method, stage.url + path, json={}, headers=stage.headers) as answer:
            assert answer.status in {404, 405}
    assert not stage.engine.seen


CALL = {"type": "function_call", "name": "find", "arguments": "{}", "call_id": "c1"}
TAKEN: list[tuple[str, dict[str, Any]]] = [
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, CALL,
                           {"type": "function_call_output", "call_id": "c1", "output": "42"}]}),
    (RESPONSES, {"input": [*TURNS, {"type": "reasoning", "summary": []},
                           {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
                           *TURNS]}),
    (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}}}),
    (RESPONSES, {"text": {"format": {"type": "text"}}, "include": ["message.output_text.logprobs"], "top_logprobs": 3}),
    (RESPONSES, {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}], "tool_choice": "none"}),
    (RESPONSES, {"metadata": {"a": "b"}, "user": "u", "truncation": "auto", "reasoning": {"effort": "low"}}),
    (MESSAGES, {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]}),
    (MESSAGES, {"messages": [*TURNS, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "tool_use", "id": "t1", "name": "find", "input": {"a": [1, {"b": None}]}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}]}]}),
    (MESSAGES, {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}}),
    (MESSAGES, {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}),
    (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048, "metadata": {"user_id": "u"}}),
    (MESSAGES, {"stop_sequences": ["a", "b"], "top_k": 5, "service_tier": "auto"}),
]  # fmt: skip


async def test_what_clients_of_these_apis_send_is_taken(stage: Scene) -> None:
    for path, more in TAKEN:
        status, told, _ = await stage.post(path, {**SENT[path], **more})
        assert status == 200, (more, told)
    sent = [body for _, body, _ in stage.engine.seen]
    assert sent[1]["input"][2]["content"] == [{"type": "output_text", "text": "Hi"}]
    assert sent[7]["messages"][1]["content"][1]["input"] == {"a": [1, {"b": None}]}


IMAGE = {"type": "image", "source": {"type": "url", "url": "http://169.254.169.254/"}}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/"}]}]},
     "input[0].content[0].type"),
    (RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
    (RESPONSES, {"input": []}, "input"),
    (RESPONSES, {"input": ""}, "input"),
    (RESPONSES, {"input": {}}, "input"),
    (RESPONSES, {"tools": [{"type": "web_search_preview"}]}, "tools[0].type"),
    (RESPONSES, {"tools": [{"type": "mcp", "server_label": "x", "server_url": "http://x"}]}, "tools[0].type"),
    (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "s"}}}, "text.format.schema"),
    (RESPONSES, {"text": {"format": {"type": "text"}}, "structured_outputs": {"regex": "a"}}, "structured_outputs"),
    (RESPONSES, {"top_logprobs": 21}, "top_logprobs"),
    (RESPONSES, {"include": ["code_interpreter_call.outputs"]}, "include[0]"),
    (RESPONSES, {"max_output_tokens": 0}, "max_output_tokens"),
    (RESPONSES, {"n": 2}, "n"),
    (RESPONSES, {"nonsense": 1}, "nonsense"),
    (MESSAGES, {"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0].type"),
    (MESSAGES, {"messages": [{"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}]}]}, "messages[0].content[0].content[0].type"),
    (MESSAGES, {"messages": [{"role": "system", "content": [{"type": "tool_addition", "tool": {}}]}]},
     "messages[0].content[0].type"),
    (MESSAGES, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
    (MESSAGES, {"tool_choice": {"type": "tool"}}, "tool_choice"),
    (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1024}, "thinking.budget_tokens"),
    (MESSAGES, {"mcp_servers": []}, "mcp_servers"),
    (MESSAGES, {"stop_sequences": ["a"] * 5}, "stop_sequences"),
    (MESSAGES, {"max_tokens": None}, "max_tokens"),
    (MESSAGES, {"nonsense": 1}, "nonsense"),
]  # fmt: skip


@pytest.mark.attack(55)
async def test_what_the_engine_must_not_see_is_refused_by_name_in_each_apis_own_form(stage: Scene) -> None:
    for path, more, param in REFUSED:
        status, told, _ = await stage.post(path, {**SENT[path], **more})
        assert (status, told["error"]["param"]) == (400, param), (more, told)
        assert told["error"]["type"] == "invalid_request_error"
        assert told.get("type") == ("error" if path == MESSAGES else None)
    assert not stage.engine.seen


async def test_errors_of_the_engine_and_of_the_door_have_the_form_of_messages(stage: Scene) -> None:
    status, told, _ = await stage.post(MESSAGES, {**SENT[MESSAGES], "model": "unknown"})
    assert (status, told["type"], told["error"]["type"]) == (404, "error", "not_found_error")
    status, told, _ = await stage.post(MESSAGES, SENT[MESSAGES], headers={})
    assert (status, told["type"], told["error"]["type"]) == (401, "error", "authentication_error")
    stage.engine.fails = EXPLODES
    status, told, _ = await stage.post(MESSAGES, SENT[MESSAGES])
    assert (status, told["type"], told["error"]["type"]) == (400, "error", "invalid_request_error")
    assert GOOD not in told["error"]["message"]


async def test_the_key_of_anthropics_clients_is_a_credential_like_the_bearer_token(stage: Scene) -> None:
    assert (await stage.post(MESSAGES, SENT[MESSAGES], headers={"X-Api-Key": KEY}))[0] == 200
    assert (await stage.post(MESSAGES, SENT[MESSAGES], headers={"X-Api-Key": "a-key-that-nobody-knows"}))[0] == 401
    assert (await stage.post(RESPONSES, SENT[RESPONSES], headers={"X-Api-Key": KEY}))[0] == 401
    both = {"X-Api-Key": KEY, "Authorization": "Bearer a-key-that-nobody-knows"}
    assert (await stage.post(MESSAGES, SENT[MESSAGES], headers=both))[0] == 401


async def test_tools_need_the_engines_parser_where_it_has_to_find_the_calls(tmp_path: Path) -> None:
    tools = {
        RESPONSES: [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        MESSAGES: [{"name": "f", "input_schema": {"type": "object"}}],
    }
    choices = [(RESPONSES, "auto"), (RESPONSES, "required"), (RESPONSES, {"type": "function", "name": "f"})]
    choices += [(MESSAGES, {"type": "auto"})]
    (tmp_path / "without").mkdir()
    async with scene(tmp_path / "without") as stage:
        for path, choice in choices:
            status, told, _ = await stage.post(path, {**SENT[path], "tools": tools[path], "tool_choice": choice})
            assert (status, told["error"]["code"]) == (400, "tools_not_enabled")
    (tmp_path / "with").mkdir()
    async with scene(tmp_path / "with", Limits(tool_calls=True)) as stage:
        for path, choice in choices:
            assert (await stage.post(path, {**SENT[path], "tools": tools[path], "tool_choice": choice}))[0] == 200


@BOTH
async def test_a_stream_is_cut_when_its_route_closes(stage: Scene, path: str) -> None:
    stage.engine.go.clear()
    async with stage.http.post(stage.url + path, json={**SENT[path], "stream": True}, headers=stage.headers) as answer:
        await answer.content.readuntil(b"\n\n")
        await stage.cluster.put(None)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
