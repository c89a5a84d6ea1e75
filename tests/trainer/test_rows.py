"""Forms of training rows: each becomes the same messages, and what is none is named by kind and number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate_trainer.data.forms import NEEDED, detect
from tunegate_trainer.data.rows import BrokenRow, Row, RowStream, make_row, read_rows, read_sound_rows, turn_text
from tunegate_trainer.data.shards import Record, find_shards
from tunegate_trainer.endings import BadInput

USER, ASSISTANT = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}
SYSTEM = {"role": "system", "content": "Be brief."}
MESSAGES = {"messages": [USER, ASSISTANT]}
CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"name": "Ada"}'}}


def row_of(value: dict[str, Any]) -> Row | BrokenRow:
    return make_row(Record(7, value), detect(value))


def problem_of(value: dict[str, Any]) -> str:
    row = row_of(value)
    assert isinstance(row, BrokenRow)
    assert row.number == 7
    return row.problem


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "text"} for role in roles]}


@pytest.mark.parametrize(
    ("value", "form", "messages"),
    [
        (MESSAGES, "Messages", [USER, ASSISTANT]),
        ({"prompt": "Who?", "completion": "Ada"}, "PromptCompletion", [USER, ASSISTANT]),
        ({"prompt": [SYSTEM, USER], "completion": [ASSISTANT]}, "PromptCompletion", [SYSTEM, USER, ASSISTANT]),
        ({"instruction": "Who?", "output": "Ada"}, "Alpaca", [USER, ASSISTANT]),
        ({"instruction": "Who?", "input": "", "output": "Ada"}, "Alpaca", [USER, ASSISTANT]),
        (
            {"instruction": "Name", "input": "the first", "output": "Ada", "system": "Be brief."},
            "Alpaca",
            [SYSTEM, {"role": "user", "content": "Name\n\nthe first"}, ASSISTANT],
        ),
        (
            {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada"}]},
            "ShareGPT",
            [USER, ASSISTANT],
        ),
        ({"prompt": "Who?", "chosen": "Ada", "rejected": "Bob"}, "Preference", [USER, ASSISTANT]),
        ({"chosen": [USER, ASSISTANT], "rejected": [USER, {**ASSISTANT, "content": "Bob"}]}, "Preference", [USER, ASSISTANT]),
    ],
)  # fmt: skip
def test_every_form_becomes_messages(value: dict[str, Any], form: str, messages: list[Any]) -> None:
    row = row_of({**value, "source": "x"})

    assert detect(value) == form
    assert isinstance(row, Row)
    assert list(row.messages) == messages
    assert row.fields == {"source": "x"}


def test_a_row_keeps_its_turns_and_other_fields() -> None:
    row = row_of({**MESSAGES, "source": "x"})

    assert isinstance(row, Row)
    assert (row.number, row.answer, row.prompt, row.fields) == (7, "Ada", [USER], {"source": "x"})


def test_tools_and_their_calls_are_kept() -> None:
    conversation = [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "1815"}, ASSISTANT]
    tools = [{"type": "function", "function": {"name": "find", "parameters": {}}}]

    row = row_of({"messages": conversation, "tools": tools})

    assert isinstance(row, Row)
    assert row.messages[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert row.tools == tuple(tools)
    assert [text for text in row.texts if "find" in text] == [turn_text(row.messages[1]), json.dumps(tools[0])]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "none of the known forms: messages, prompt+completion, instruction+output, conversations, chosen+rejected"),
        ({"messages": []}, "no messages"),
        ({"messages": ["hello"]}, "a message without text content"),
        ({"messages": [{"role": "user", "content": 5}]}, "a message without text content"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "unknown role"),
        ({"messages": [{"role": "user", "content": "  "}]}, "empty message"),
        ({"messages": [{**USER, "name": "y"}]}, "a message with other fields than content, role"),
        ({"messages": [USER, {**ASSISTANT, "content": "a\0b"}]}, "a NUL character"),
        ({"messages": [USER, {**ASSISTANT, "content": "\ud800"}]}, "half of a surrogate pair, which is no character"),
        (turns("user"), "the last message is not the assistant's"),
        (turns("system"), "the last message is not the assistant's"),
        (turns("assistant"), "roles do not alternate"),
        (turns("user", "user", "assistant"), "roles do not alternate"),
        (turns("user", "system", "assistant"), "roles do not alternate"),
        (turns("user", "tool", "assistant"), "roles do not alternate"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}, USER]}, "roles do not alternate"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": ["find"]}]}, "tool_calls is no list of functions with name and arguments"),
        ({**MESSAGES, "tools": "find"}, "tools is no list of objects"),
        ({**MESSAGES, "tools": [{"function": "name"}]}, "a tool whose function is no object"),
        ({**MESSAGES, "tools": [{"name": "\udc00"}]}, "half of a surrogate pair, which is no character"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "unknown role"),
        ({"conversations": [{"from": ["gpt"], "value": "x"}]}, "a turn of conversations whose `from` is none of system, human, user, gpt, chatgpt, assistant, model"),
        ({"prompt": 5, "completion": "x"}, "prompt is neither text nor a list of messages"),
        ({"prompt": "x", "completion": {}}, "completion is neither text nor a list of messages"),
        ({"instruction": "x", "output": 5}, "output is not text"),
        ({"conversations": [{"from": "alien", "value": "x"}]}, "a turn of conversations whose `from` is none of system, human, user, gpt, chatgpt, assistant, model"),
        ({"conversations": {}}, "no conversations"),
        ({"prompt": "x", "chosen": "a", "rejected": "a"}, "chosen and rejected are equal"),
        ({"chosen": "a", "rejected": "b"}, "chosen is no list of messages and there is no prompt"),
    ],
)  # fmt: skip
def test_a_broken_row_is_named_by_kind(value: dict[str, Any], problem: str) -> None:
    assert problem_of(value) == problem


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_reading_goes_on_after_a_broken_row(tmp_path: Path) -> None:
    rows, broken = read_rows(find_shards("data set", write(tmp_path / "rows.jsonl", MESSAGES, "broken", MESSAGES)))

    assert [row.number for row in rows] == [1, 3]
    assert broken == [BrokenRow(2, "not JSON")]


def test_the_first_readable_row_decides_about_the_form(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", "broken", {"instruction": "Who?", "output": "Ada"}, MESSAGES, {"x": 1})
    stream = RowStream(find_shards("data set", path))

    read = list(stream)

    assert stream.form == "Alpaca"
    assert [type(row) for row in read] == [BrokenRow, Row, BrokenRow, BrokenRow]
    assert read[2:] == [
        BrokenRow(3, "Messages among rows of form Alpaca"),
        BrokenRow(4, "no " + " and ".join(NEEDED["Alpaca"])),
    ]


def test_sound_rows_or_the_first_problem(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path / name, MESSAGES, MESSAGES)

    assert len(read_sound_rows(find_shards("data set", tmp_path))) == 4
    write(tmp_path / "b.jsonl", MESSAGES, "broken", "broken")
    with pytest.raises(BadInput, match=r"row b.jsonl:2: not JSON \(2 broken rows\)"):
        read_sound_rows(find_shards("data set", tmp_path))
    with pytest.raises(BadInput, match="no rows"):
        read_sound_rows(find_shards("data set", write(tmp_path / "b.jsonl")))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["role", "content", "from", "value", "tool_calls", "function", "name", "arguments"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from([*{name for names in NEEDED.values() for name in names}, "tools", "input"]), JSON)
)
def test_no_value_makes_the_reader_fail(value: dict[str, Any]) -> None:
    assert isinstance(row_of(value), Row | BrokenRow)


def test_copies_of_a_row_share_a_group() -> None:
    first, second = (row_of({**MESSAGES, "source": str(number)}) for number in (1, 2))

    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.group(None) == second.group("missing")
    assert first.group("source") != second.group("source")
