"""Files that other trainers' tools write: what they mean is read, and what could not be trained on as meant is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunegate_trainer.data.forms import NOT_SHOWN, detect
from tunegate_trainer.data.rows import BrokenRow, Row, make_row
from tunegate_trainer.data.shards import Record, parse_line

USER, ASSISTANT = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}
SYSTEM = {"role": "system", "content": "Be brief."}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
FORMS: list[dict[str, Any]] = [
    {"messages": [USER, ASSISTANT]},
    {"prompt": "Who?", "completion": "Ada"},
    {"prompt": [USER], "completion": [ASSISTANT]},
    {"instruction": "Who?", "output": "Ada"},
    {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada"}]},
    {"conversations": [USER, ASSISTANT]},
    {"prompt": "Who?", "chosen": "Ada", "rejected": "Bob"},
    {"chosen": [USER, ASSISTANT], "rejected": [USER, {**ASSISTANT, "content": "Bob"}]},
]


def read(value: dict[str, Any]) -> Row | BrokenRow:
    return make_row(Record(1, value), detect(value))


def sound(value: dict[str, Any]) -> Row:
    row = read(value)
    assert isinstance(row, Row), row
    return row


def refused(value: dict[str, Any]) -> str:
    row = read(value)
    assert isinstance(row, BrokenRow)
    return row.problem


@pytest.mark.parametrize("value", FORMS)
def test_an_answer_that_was_rated_as_bad_is_refused_in_every_form(value: dict[str, Any]) -> None:
    assert "label is false" in refused({**value, "label": False})
    assert sound({**value, "label": True}).messages == (USER, ASSISTANT)
    assert sound({**value, "label": "false friends"}).messages == (USER, ASSISTANT)


@pytest.mark.parametrize("value", FORMS)
def test_an_instruction_beside_the_turns_becomes_the_system_turn_in_every_form(value: dict[str, Any]) -> None:
    for system in ("Be brief.", [{"type": "text", "text": "Be brief."}]):
        assert sound({**value, "system": system}).messages == (SYSTEM, USER, ASSISTANT)
    for none in (None, "", "  "):
        assert sound({**value, "system": none}).messages == (USER, ASSISTANT)
    assert refused({**value, "system": 5}) == "system is not text"


def test_an_instruction_that_stands_twice_counts_once_and_two_are_refused() -> None:
    row = sound({"system": "Be brief.", "messages": [SYSTEM, USER, ASSISTANT]})

    assert row.messages == (SYSTEM, USER, ASSISTANT)
    assert "two instructions" in refused({"system": "Be long.", "messages": [SYSTEM, USER, ASSISTANT]})


def test_history_is_read_where_it_is_known_and_refused_elsewhere() -> None:
    row = sound({"instruction": "And?", "output": "Bob", "history": [["Who?", "Ada"]]})

    assert [turn["content"] for turn in row.messages] == ["Who?", "Ada", "And?", "Bob"]
    assert "history is no list of pairs" in refused({"instruction": "And?", "output": "Bob", "history": ["Who?"]})
    for value in FORMS:
        if "instruction" not in value:
            assert "history, which is read in rows of form Alpaca only" in refused({**value, "history": [["a", "b"]]})
            assert sound({**value, "history": []}).messages == (USER, ASSISTANT)


@pytest.mark.parametrize("name", NOT_SHOWN)
def test_what_the_model_would_not_be_shown_is_refused_by_name(name: str) -> None:
    for value in FORMS:
        assert f"the field {name}:" in refused({**value, name: [{"a": 1}]})
        assert sound({**value, name: []}).messages == (USER, ASSISTANT)


@pytest.mark.parametrize(
    ("mark", "learned", "masked"),
    [("weight", 1, 0), ("weight", 1.0, 0.5), ("loss", True, False), ("train", True, False), ("train_on_turn", True, False)],
)  # fmt: skip
def test_a_turn_that_is_not_to_be_learned_is_refused_and_a_mark_of_the_usual_is_read(
    mark: str, learned: Any, masked: Any
) -> None:
    def marked(value: Any) -> list[dict[str, Any]]:
        shared = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada", mark: value}]
        return [{"messages": [USER, {**ASSISTANT, mark: value}]}, {"conversations": shared}]

    for value in marked(learned):
        assert sound(value).messages == (USER, ASSISTANT)
    for value in marked(masked):
        assert f"a turn with another {mark} than 1 or true" in refused(value)


def test_other_fields_of_a_turn_are_refused_in_every_form() -> None:
    shared = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada", "thought": "x", "name": None}]

    assert refused({"conversations": shared}) == "a turn of conversations with other fields than from, value"


def calling(arguments: Any, **more: Any) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": arguments}, **more}
    turns = [USER, {"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "x"}]
    return {"messages": [*turns, ASSISTANT], "tools": [TOOL]}


def test_arguments_as_text_are_the_object_that_the_text_is() -> None:
    as_text, as_object = sound(calling('{"q": "x"}')), sound(calling({"q": "x"}))

    assert as_text.messages == as_object.messages
    assert as_text.content == as_object.content
    assert [sound(calling(none)).messages[1]["tool_calls"][0]["function"]["arguments"] for none in ("", None)] == [
        {},
        {},
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("{", "are no JSON object (not JSON)"), ("[1]", "are no JSON object"), ([1], "are no JSON object"),
        ('{"a": 1, "a": 2}', "(a key stands twice in one object)"), ('{"a": NaN}', "no JSON numbers"),
    ],
)  # fmt: skip
def test_arguments_that_are_no_object_are_refused(arguments: Any, reason: str) -> None:
    assert reason in refused(calling(arguments))


def test_depth_has_a_limit_in_text_too() -> None:
    assert refused(calling('{"a": ' * 150 + "1" + "}" * 150)) == "nested deeper than 100"
    assert "a call of another type" in refused(calling({}, type="custom"))


def test_an_empty_list_of_calls_is_none() -> None:
    assert sound({"messages": [USER, {**ASSISTANT, "tool_calls": []}]}).messages == (USER, ASSISTANT)


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), [json.dumps(TOOL)]])
def test_tools_may_be_json_text(tools: Any) -> None:
    assert sound({"messages": [USER, ASSISTANT], "tools": tools}).tools == (TOOL,)


@pytest.mark.parametrize("tools", ["", "{}", json.dumps(TOOL), "[1]", ["[]"], 5, {"a": 1}, '[{"a": 1, "a": 2}]'])
def test_tools_that_are_no_list_of_objects_are_refused(tools: Any) -> None:
    assert refused({"messages": [USER, ASSISTANT], "tools": tools}).startswith("tools is no list of objects")


def test_text_parts_are_joined_as_the_engine_joins_them() -> None:
    parts = [{"type": "text", "text": "Who"}, {"type": "text", "text": "holds it?", "image_url": None}]

    assert sound({"messages": [{**USER, "content": parts}, ASSISTANT]}).messages[0]["content"] == "Who\nholds it?"
    for other in ([], [{"type": "image_url", "image_url": {"url": "x"}}], ["text"], [{"type": "text", "text": 5}]):
        assert "without text content" in refused({"messages": [{**USER, "content": other}, ASSISTANT]})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": 1, "a": 2}', "a key stands twice in one object"),
        (b'{"b": {"a": 1, "a": 1}}', "a key stands twice in one object"),
        (b'{"a": NaN}', "not JSON: NaN, Infinity and numbers beyond the range of doubles are no JSON numbers"),
        (b'{"a": -Infinity}', "not JSON: NaN, Infinity and numbers beyond the range of doubles are no JSON numbers"),
        (b'{"a": 1e999}', "not JSON: NaN, Infinity and numbers beyond the range of doubles are no JSON numbers"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON"),
    ],
)
def test_what_strict_readers_refuse_is_refused(line: bytes, problem: str) -> None:
    assert parse_line(line) == (None, problem)
