"""Training rows: records of a data set, in whatever form they are written, as conversations that a model can be tuned on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunegate_trainer.data.forms import NEEDED, Form, convert, detect
from tunegate_trainer.data.shards import Record, Shards
from tunegate_trainer.data.turns import Misfit, read_turns, turn_text, written
from tunegate_trainer.endings import BadInput

MAX_DEPTH = 100
"""Objects and lists within each other; conversations need five or so, and Python stops at some hundreds."""
KEPT_BYTES = 16 * 1024 * 1024
"""Of a data set whose rows stay in memory when they were read once; where it is compressed, also the characters of its rows."""
ROW_BYTES = 512
"""By which a row counts more than its text has."""
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Row:
    """One conversation. ``number`` counts from 1 through the data set, broken rows included."""

    number: int
    messages: tuple[Mapping[str, Any], ...]
    """Each with `role` and `content`, which is text; an assistant's may have `tool_calls`."""
    fields: Mapping[str, Any]
    """Everything else in the record."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """JSON schemas of the functions that the model may call."""

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All text of the row that the model sees: each turn, then each tool as JSON."""
        return (*map(turn_text, self.messages), *map(written, self.tools))

    @property
    def prompt(self) -> list[dict[str, Any]]:
        """All turns before the last assistant turn."""
        return [dict(message) for message in self.messages[:-1]]

    @property
    def answer(self) -> str:
        """The last turn, which is the assistant's."""
        return str(self.messages[-1]["content"])

    @property
    def question(self) -> str:
        """The last user turn: what alternatives without a language model look at."""
        return str(next(turn["content"] for turn in reversed(self.messages) if turn["role"] == "user"))

    @property
    def content(self) -> bytes:
        """SHA-256 of the conversation with its tools: the same in whatever form, file or order rows are written."""
        tools = json.dumps(self.tools, sort_keys=True)
        return hashlib.sha256(f"[{self._turns}, {tools}]".encode()).digest()

    def group(self, field: str | None) -> str:
        """Return the row's group. Without the field, rows with the same turns are a group: copies stay on one side."""
        value = self.fields.get(field) if field else None
        if value is not None:
            return f"group {value}"
        return "content " + hashlib.sha256(self._turns.encode()).hexdigest()

    @property
    def _turns(self) -> str:
        """The conversation as JSON."""
        return json.dumps(self.messages, sort_keys=True)


@dataclass(frozen=True)
class BrokenRow:
    """A record that is not a row, and the kind of problem: never its text."""

    number: int
    problem: str


class RowStream:
    """The rows of a data set, one after the other, and after the first readable one the form in which they are written."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.form: Form | None = None
        self._kept: list[Row] | None = None
        """The readable rows of a small data set, once all are read."""

    def __iter__(self) -> Iterator[Row | BrokenRow]:
        """Yield rows in order; reading goes on after a broken one. Raises ``BadInput`` for a damaged file."""
        kept: list[Row] | None = [] if self.shards.size() <= KEPT_BYTES else None
        room = KEPT_BYTES
        for record in self.shards.records():
            if self.form is None and record.value is not None:
                self.form = detect(record.value)
            row = make_row(record, self.form)
            if kept is not None and isinstance(row, Row):
                room -= ROW_BYTES + sum(map(len, row.texts))
                kept.append(row)
                kept = kept if room >= 0 else None
            yield row
        self._kept = kept

    def again(self, numbers: Container[int]) -> Iterator[Row]:
        """Yield the readable rows of these numbers once more, after all were read; of a large data set from its files."""
        if self._kept is not None:
            yield from (row for row in self._kept if row.number in numbers)
            return
        for record in self.shards.records():
            if record.number in numbers:
                row = make_row(record, self.form)
                if isinstance(row, Row):
                    yield row


def read_rows(shards: Shards) -> tuple[list[Row], list[BrokenRow]]:
    """Return the good rows of a data set and its broken ones, in order. Raises ``BadInput`` for a damaged file."""
    rows: list[Row] = []
    broken: list[BrokenRow] = []
    for row in RowStream(shards):
        if isinstance(row, Row):
            rows.append(row)
        else:
            broken.append(row)
    return rows, broken


def make_row(record: Record, form: Form | None) -> Row | BrokenRow:
    """Return the row that a record holds, or why it holds none."""
    if record.value is None:
        return BrokenRow(record.number, record.problem or "unreadable")
    if _too_deep(record.value):
        return BrokenRow(record.number, f"nested deeper than {MAX_DEPTH}")
    if form is None:
        return BrokenRow(
            record.number, "none of the known forms: " + ", ".join("+".join(each) for each in NEEDED.values())
        )
    try:
        converted = convert(form, record.value)
        turns = read_turns(converted.messages)
    except Misfit as misfit:
        return BrokenRow(record.number, str(misfit))
    row = Row(record.number, turns, converted.fields, tuple(converted.tools))
    if _too_deep([turns, row.tools]):  # texts of JSON are read only now
        return BrokenRow(record.number, f"nested deeper than {MAX_DEPTH}")
    problem = _text_problem(row)
    return BrokenRow(record.number, problem) if problem else row


def _too_deep(value: Any, left: int = MAX_DEPTH) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    return inner is not None and (left == 0 or any(_too_deep(each, left - 1) for each in inner))


def _text_problem(row: Row) -> str | None:
    """Return what keeps a row's text from being written down. Parquet has values that JSON has not; JSON has characters
    that are none, which may stand in other fields than the conversation too."""
    try:
        texts = row.texts
    except (TypeError, ValueError):
        return "tools or their calls hold a value that JSON cannot hold"
    other = (each for field in row.fields.items() for each in field if isinstance(each, str))
    if any(_LONE_SURROGATE.search(text) for text in (*texts, *other)):
        return "half of a surrogate pair, which is no character"
    return None


def read_sound_rows(shards: Shards) -> list[Row]:
    """Return the rows of data that were checked before. Raises ``BadInput`` for a broken row and when there is none."""
    rows, broken = read_rows(shards)
    if broken:
        first = broken[0]
        raise BadInput(f"{shards.what}: row {shards.place(first.number)}: {first.problem} ({len(broken)} broken rows)")
    if not rows:
        raise BadInput(f"{shards.what}: no rows")
    return rows
