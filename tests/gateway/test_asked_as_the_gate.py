"""A released model is asked as the gate asked it, wherever the client does not say otherwise."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.standins import GOOD, Scene, scene
from tunegate.api.asked import AskedAs
from tunegate.gateway.bodies import Checked, check_body
from tunegate.gateway.endpoints import CHAT, ENDPOINTS, MESSAGES, RESPONSES
from tunegate.gateway.schemas import Budget
from tunegate.strict_json import strict_json

HELLO = {"role": "user", "content": "Hello"}
OWN = {"role": "system", "content": "Answer in French."}
GATE = {"role": "system", "content": 'Answer with "holder" and "years".'}
ASKED_AS = AskedAs(max_tokens=48, system_prompt=GATE["content"])
SCHEMA = {"type": "object", "properties": {"holder": {"type": "string"}}, "required": ["holder"]}
GUIDED = AskedAs(max_tokens=48, json_schema=json.dumps(SCHEMA))
OTHER = {"type": "json_schema", "schema": {"type": "object"}}
FORM: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, asked_as=ASKED_AS) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "length", "turns"),
    [
        ({}, 48, [GATE, HELLO]),
        ({"max_tokens": 5}, 5, [GATE, HELLO]),
        ({"max_completion_tokens": 6}, None, [GATE, HELLO]),
        ({"min_tokens": 64}, None, [GATE, HELLO]),
        ({"temperature": 1}, 48, [GATE, HELLO]),
        ({"messages": [OWN, HELLO]}, 48, [OWN, HELLO]),
        ({"messages": [{**OWN, "role": "developer"}, HELLO]}, 48, [{**OWN, "role": "developer"}, HELLO]),
        ({"max_tokens": 5, "stream": True}, 5, [GATE, HELLO]),
    ],
)
async def test_what_a_client_leaves_out_is_as_it_was_at_the_gate(
    stage: Scene, sent: dict[str, Any], length: int | None, turns: list[Any]
) -> None:
    body = {"model": "extract", "messages": [HELLO], **sent}
    async with stage.http.post(f"{stage.url}{CHAT}", json=body, headers=stage.headers) as answer:
        assert answer.status == 200
        await answer.read()
    asked = stage.engine.seen[-1][1]
    assert (asked["model"], asked.get("max_tokens"), asked["messages"]) == (GOOD, length, turns)


@pytest.mark.parametrize(
    ("sent", "form"),
    [
        ({}, FORM),
        ({"stream": True}, FORM),
        ({"temperature": 1}, FORM),
        ({"response_format": {"type": "text"}}, {"type": "text"}),
        ({"response_format": {"type": "json_object"}}, {"type": "json_object"}),
        ({"structured_outputs": {"choice": ["a", "b"]}}, None),
        ({"model": "base"}, None),
    ],
)
async def test_answers_keep_to_the_schema_of_the_gate_unless_the_client_asks_for_another_form(
    tmp_path: Path, sent: dict[str, Any], form: dict[str, Any] | None
) -> None:
    async with scene(tmp_path, asked_as=GUIDED) as stage:
        body = {"model": "extract", "messages": [HELLO], **sent}
        async with stage.http.post(f"{stage.url}{CHAT}", json=body, headers=stage.headers) as answer:
            assert answer.status == 200
            await answer.read()
        assert stage.engine.seen[-1][1].get("response_format") == form
        async with stage.http.get(f"{stage.url}/v1/models/extract", headers=stage.headers) as answer:
            told = (await answer.json())["asked_as"]
        assert told == {"temperature": 0, "max_tokens": 48, "response_format": FORM}


@pytest.mark.parametrize(
    ("path", "body", "field", "told"),
    [
        (RESPONSES, {"input": "Hello"}, "text", {"format": {"type": "json_schema", **FORM["json_schema"]}}),
        (RESPONSES, {"input": "Hello", "text": {"format": {"type": "text"}}}, "text", {"format": {"type": "text"}}),
        (
            MESSAGES, {"messages": [HELLO], "max_tokens": 9}, "output_config",
            {"format": {"type": "json_schema", "schema": SCHEMA}},
        ),
        (
            MESSAGES, {"messages": [HELLO], "max_tokens": 9, "output_config": {"effort": "low"}, "tools": []}, "output_config",
            {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        ),
        (
            MESSAGES, {"messages": [HELLO], "max_tokens": 9, "output_config": {"effort": "low", "format": {**OTHER}}},
            "output_config", {"effort": "low", "format": OTHER},
        ),
        (
            RESPONSES, {"input": "Hello", "text": {"verbosity": "low"}, "tools": []}, "text",
            {"format": {"type": "json_schema", **FORM["json_schema"]}},
        ),
        (RESPONSES, {"input": "Hello", "text": {"format": None}}, "text", {"format": {"type": "json_schema", **FORM["json_schema"]}}),
    ],
)  # fmt: skip
def test_the_schema_of_the_gate_is_told_in_the_words_of_each_endpoint(
    path: str, body: dict[str, Any], field: str, told: dict[str, Any]
) -> None:
    checked = check_body(path, json.dumps({"model": "m", **body}).encode())
    assert isinstance(checked, Checked)
    sent = json.loads(checked.for_engine("served", GUIDED))
    assert sent[field] == told
    check = ENDPOINTS[path].checks(Budget())[field]
    assert check(field, sent[field]) == told, "a client may say the same"


def test_what_a_client_says_beside_the_form_goes_on_alone_where_the_gate_had_none() -> None:
    body = {"model": "m", "messages": [HELLO], "max_tokens": 9, "output_config": {"effort": "low"}}
    for asked_as in (None, ASKED_AS):
        checked = check_body(MESSAGES, json.dumps(body).encode())
        assert isinstance(checked, Checked)
        assert json.loads(checked.for_engine("served", asked_as))["output_config"] == {"effort": "low"}


def test_tools_that_a_client_offers_are_a_form_of_their_own() -> None:
    function = {"name": "look", "parameters": {"type": "object"}}
    tools = [{"type": "function", "function": function}]
    raw = json.dumps({"model": "m", "messages": [HELLO], "tools": tools}).encode()
    checked = check_body(CHAT, raw)
    assert isinstance(checked, Checked)
    assert "response_format" not in json.loads(checked.for_engine("served", GUIDED))


async def test_the_base_and_completions_have_no_gate(stage: Scene) -> None:
    assert (await stage.ask("base"))[0] == 200
    assert "max_tokens" not in stage.engine.seen[-1][1]
    assert stage.engine.seen[-1][1]["messages"] == [HELLO]
    assert (await stage.post("/v1/completions", {"model": "extract", "prompt": "Hello"}))[0] == 200
    assert stage.engine.seen[-1][1] == {"model": GOOD, "prompt": "Hello", "temperature": 0}


async def test_a_client_can_see_how_a_model_is_asked(stage: Scene) -> None:
    async def told(name: str) -> dict[str, Any]:
        async with stage.http.get(f"{stage.url}/v1/models/{name}", headers=stage.headers) as answer:
            return dict(await answer.json())

    asked_as = {"temperature": 0, "max_tokens": 48, "system_prompt": GATE["content"]}
    assert (await told("extract"))["asked_as"] == asked_as
    assert "asked_as" not in await told("base")
    async with stage.http.get(f"{stage.url}/v1/models", headers=stage.headers) as answer:
        listed = {one["id"]: one for one in (await answer.json())["data"]}
    assert listed["extract"]["asked_as"] == asked_as


@pytest.mark.parametrize("asked_as", [None, ASKED_AS, GUIDED])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RESPONSES, {"input": "Hello", "text": {"verbosity": "low"}}),
        (RESPONSES, {"input": "Hello", "text": {"format": {"type": "text"}}}),
        (MESSAGES, {"messages": [HELLO], "max_tokens": 9, "output_config": {"effort": "low"}}),
        (MESSAGES, {"messages": [HELLO], "max_tokens": 9, "output_config": {}}),
        (MESSAGES, {"messages": [HELLO], "max_tokens": 9, "output_config": {"format": OTHER}}),
    ],
)
def test_no_field_reaches_the_engine_twice(path: str, body: dict[str, Any], asked_as: AskedAs | None) -> None:
    checked = check_body(path, json.dumps({"model": "m", **body}).encode())
    assert isinstance(checked, Checked)
    strict_json(checked.for_engine("served", asked_as).decode())


@pytest.mark.parametrize("asked_as", [None, AskedAs(max_tokens=7), ASKED_AS, GUIDED])
def test_the_engine_gets_one_json_object_whatever_is_added(asked_as: AskedAs | None) -> None:
    """The parts are put together as bytes: quotes, other scripts and empty texts must not break them."""
    for content in ("Hello", "", 'a "quoted" \\ word', "Привет 🙂", "\u2028"):
        for more in ({}, {"stream": True}, {"user": "x"}):
            raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **more}).encode()
            checked = check_body(CHAT, raw)
            assert isinstance(checked, Checked)
            pairs = json.loads(checked.for_engine("served", asked_as), object_pairs_hook=list)
            assert len(dict(pairs)) == len(pairs), "no name stands twice"
            turns = [dict(turn) for turn in dict(pairs)["messages"]]
            assert turns[-1] == {"role": "user", "content": content}
            assert len(turns) == 1 + (asked_as is not None and asked_as.system_prompt is not None)
