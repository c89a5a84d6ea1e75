"""Forms of training rows: each becomes the same messages, and what is none is named by kind and number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tunegate_trainer.data.forms import NEEDED, detect
from tunegate_trainer.data.rows import (
    MAX_DEPTH,
    BrokenRow,
    Row,
    RowStream,
    make_row,
    read_rows,
    read_sound_rows,
)
from tunegate_trainer.data.shards import Record, find_shards
from tunegate_trainer.data.turns import MAX_TURNS, turn_text
from tunegate_trainer.endings import BadInput

USER, ASSISTANT = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}
SYSTEM = {"role": "system", "content": "Be brief."}
MESSAGES = {"messages": [USER, ASSISTANT]}
CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": {"name": "Ada"}}}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {}}}

CALLING = {"role": "assistant", "tool_calls": [CALL]}


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
        ({"prompt": "Who?", "chosen": [USER, ASSISTANT], "rejected": [USER]}, "Preference", [USER, ASSISTANT]),
        ({"prompt": [USER], "chosen": [ASSISTANT, USER, ASSISTANT], "rejected": [ASSISTANT]}, "Preference", [USER, ASSISTANT, USER, ASSISTANT]),
        ({"messages": None, "prompt": "Who?", "completion": "Ada"}, "PromptCompletion", [USER, ASSISTANT]),
        ({"messages": [{**USER, "tool_calls": None}, {**ASSISTANT, "name": None}], "tools": None}, "Messages", [USER, ASSISTANT]),
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
    conversation = [USER, CALLING, {"role": "tool", "content": "1815"}, ASSISTANT]
    tools = [TOOL]

    row = row_of({"messages": conversation, "tools": tools})

    assert isinstance(row, Row)
    assert row.messages[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert row.tools == tuple(tools)
    assert [text for text in row.texts if "find" in text] == [turn_text(row.messages[1]), json.dumps(tools[0])]


def test_what_a_tool_calls_itself_is_text_of_its_turn() -> None:
    turn = {"role": "tool", "content": "1815", "name": "find", "tool_call_id": "call-1"}

    assert turn_text(turn) == "1815\nfind\ncall-1"


def test_null_in_the_schema_of_a_tool_is_meant() -> None:
    tool = {"type": "function", "function": {"name": "find", "parameters": {"default": None}}}

    row = row_of({**MESSAGES, "tools": [tool]})

    assert isinstance(row, Row)
    assert row.tools == (tool,)


def test_a_row_has_at_most_a_thousand_turns() -> None:
    assert isinstance(row_of(turns(*["user", "assistant"] * (MAX_TURNS // 2))), Row)
    found = problem_of(turns(*["user", "assistant"] * (MAX_TURNS // 2 + 1)))
    assert found == "more than 1000 turns: split the conversation into several rows"


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"inner": value}
    return value


def test_depth_has_a_limit() -> None:
    assert isinstance(row_of({**MESSAGES, "source": nested(MAX_DEPTH - 1)}), Row)
    for depth in (MAX_DEPTH, 3000):
        assert problem_of({**MESSAGES, "source": nested(depth)}) == "nested deeper than 100"
        assert problem_of({**MESSAGES, "tools": [nested(depth)]}) == "nested deeper than 100"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "none of the known forms: messages, prompt+completion, instruction+output, conversations, chosen+rejected"),
        ({"messages": []}, "no messages"),
        ({"messages": ["hello"]}, "a message that is no object with role and content"),
        ({"messages": [{"role": "user", "content": 5}]}, "a message without text content: allowed are text and a list of text parts"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "unknown role: allowed are system, user, assistant, tool"),
        ({"messages": [{"role": "user", "content": "  "}]}, "empty message"),
        ({"messages": [{**USER, "name": "y"}]}, "a message of role user with other fields than content, role"),
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
        ({**MESSAGES, "tools": "find"}, "tools is no list of objects, nor JSON text of one"),
        ({**MESSAGES, "tools": [{"function": "name"}]}, "a tool whose function is no object"),
        ({**MESSAGES, "tools": [{"name": "\udc00"}]}, "half of a surrogate pair, which is no character"),
        ({"messages": [USER, CALLING, {"role": "tool", "content": "x", "name": "\ud800"}, ASSISTANT]}, "half of a surrogate pair, which is no character"),
        ({"messages": [USER, CALLING, {"role": "tool", "content": "x", "tool_call_id": 5}, ASSISTANT]}, "a tool's turn whose name or tool_call_id is not text"),
        ({**MESSAGES, "source": "\ud800"}, "half of a surrogate pair, which is no character"),
        ({**MESSAGES, "tools": [{"name": "find", "default": b"x"}]}, "tools or their calls hold a value that JSON cannot hold"),
        ({"messages": [USER, {**ASSISTANT, "content": b"Ada"}]}, "a message without text content: allowed are text and a list of text parts"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "unknown role: allowed are system, user, assistant, tool"),
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
        read_sound_rows(find_shards("data set", write_parquet(tmp_path / "c.parquet")))


def write_parquet(path: Path) -> Path:
    pyarrow.parquet.write_table(pyarrow.table({"prompt": pyarrow.array([], pyarrow.string())}), path)
    return path


ANY_TEXT = st.text(st.characters(), max_size=5)
"""Halves of surrogate pairs included, which JSON can write down."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT | st.integers(0, 250).map(nested),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["role", "content", "from", "value", "tool_calls", "function", "name", "arguments"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from([*{name for names in NEEDED.values() for name in names}, "tools", "input"]), JSON)
)
@example({"messages": [USER, CALLING, {"role": "tool", "content": "x", "name": "\udfff"}, ASSISTANT]})
@example({**MESSAGES, "tools": [nested(250)]})
def test_no_value_makes_the_reader_fail_and_what_it_reads_can_be_written(value: dict[str, Any]) -> None:
    row = row_of(value)

    if isinstance(row, Row):
        assert "\n".join(row.texts).encode()
        assert row.group(None)
    else:
        assert row.problem


def test_copies_of_a_row_share_a_group() -> None:
    first, second = (row_of({**MESSAGES, "source": str(number)}) for number in (1, 2))

    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.group(None) == second.group("missing")
    assert first.group("source") != second.group("source")
