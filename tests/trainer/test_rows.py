"""Chat JSONL: what is a row, and what is said about what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate_trainer.data.rows import MAX_LINE, BrokenRow, Row, parse_row, read_rows

GOOD = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}], "source": "x"}


def conversation(*roles: str) -> bytes:
    return json.dumps({"messages": [{"role": role, "content": "text"} for role in roles]}).encode()


def test_a_row_keeps_its_turns_and_other_fields() -> None:
    row = parse_row(7, json.dumps(GOOD).encode())

    assert isinstance(row, Row)
    assert (row.number, row.answer, row.prompt) == (7, "Ada", [{"role": "user", "content": "Who?"}])
    assert row.fields == {"source": "x"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "empty line"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]", "not a JSON object"),
        (b"{}", "no messages"),
        (b'{"messages": []}', "no messages"),
        (b'{"messages": ["hello"]}', "a message without text content"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "a message without text content"),
        (b'{"messages": [{"role": "tool", "content": "x"}]}', "unknown role"),
        (b'{"messages": [{"role": "user", "content": "  "}]}', "empty message"),
        (b'{"messages": [{"role": "user", "content": "x", "name": "y"}]}', "a message with other fields than role and content"),
        (conversation("user"), "the last message is not the assistant's"),
        (conversation("system"), "the last message is not the assistant's"),
        (conversation("assistant"), "roles do not alternate"),
        (conversation("user", "user", "assistant"), "roles do not alternate"),
        (conversation("user", "system", "assistant"), "roles do not alternate"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named_by_kind(line: bytes, problem: str) -> None:
    assert parse_row(3, line) == BrokenRow(3, problem)


def test_reading_goes_on_after_a_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\nbroken\n" + json.dumps(GOOD).encode())

    rows, broken = read_rows(path)

    assert [row.number for row in rows] == [1, 3]
    assert broken == [BrokenRow(2, "not JSON")]


def test_a_giant_line_is_one_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x" * (3 * MAX_LINE) + b"\n" + json.dumps(GOOD).encode() + b"\n")

    rows, broken = read_rows(path)

    assert broken == [BrokenRow(1, "line too long")]
    assert [row.number for row in rows] == [2]


def test_a_line_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    filler = "a" * (MAX_LINE - len(json.dumps({**GOOD, "source": ""})))
    path.write_text(json.dumps({**GOOD, "source": filler}) + "\n" + json.dumps(GOOD) + "\n")

    rows, broken = read_rows(path)

    assert ([row.number for row in rows], broken) == ([1, 2], [])


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(line: bytes) -> None:
    assert isinstance(parse_row(1, line), Row | BrokenRow)


def test_copies_of_a_row_share_a_group() -> None:
    first, second = (parse_row(number, json.dumps({**GOOD, "source": str(number)}).encode()) for number in (1, 2))

    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.group(None) == second.group("missing")
    assert first.group("source") != second.group("source")
