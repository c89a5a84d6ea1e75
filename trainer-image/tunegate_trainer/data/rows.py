"""Chat JSONL: one JSON object a line with `messages`. Reading goes on after a broken line and says what was wrong where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLES = frozenset({"system", "user", "assistant"})
MAX_LINE = 4 * 1024 * 1024
"""Bytes of one line; a longer one is not a training row but a mistake."""


@dataclass(frozen=True)
class Row:
    """One conversation. ``number`` is the line in the file, from 1."""

    number: int
    messages: tuple[Mapping[str, str], ...]
    fields: Mapping[str, Any]
    """Everything else in the object."""

    @property
    def prompt(self) -> list[dict[str, str]]:
        """All turns before the last assistant turn."""
        return [dict(message) for message in self.messages[:-1]]

    @property
    def answer(self) -> str:
        """The last turn, which is the assistant's."""
        return self.messages[-1]["content"]

    def group(self, field: str | None) -> str:
        """Return the row's group. Without the field, rows with the same turns are a group: copies stay on one side."""
        value = self.fields.get(field) if field else None
        if value is not None:
            return f"group {value}"
        return "content " + hashlib.sha256(json.dumps(self.messages, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class BrokenRow:
    """A line that is not a row, and the kind of problem: never its text."""

    number: int
    problem: str


def read_rows(path: Path) -> tuple[list[Row], list[BrokenRow]]:
    """Return the good rows of a file and its broken lines, in order. Blank lines are broken too: they hide truncation."""
    rows: list[Row] = []
    broken: list[BrokenRow] = []
    for number, line in enumerate(_lines(path), start=1):
        parsed = parse_row(number, line)
        if isinstance(parsed, Row):
            rows.append(parsed)
        else:
            broken.append(parsed)
    return rows, broken


def _lines(path: Path) -> Iterator[bytes]:
    """Yield lines without their end; of one that is too long only the beginning, so that it never fills the memory."""
    with path.open("rb") as stream:
        while line := stream.readline(MAX_LINE + 2):
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(MAX_LINE)
            yield line.rstrip(b"\r\n")


def parse_row(number: int, line: bytes) -> Row | BrokenRow:
    """Return the row of a line, or why it is none."""
    if len(line) > MAX_LINE:
        return BrokenRow(number, "line too long")
    if not line.strip():
        return BrokenRow(number, "empty line")
    try:
        document = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return BrokenRow(number, "not UTF-8")
    except (ValueError, RecursionError):
        return BrokenRow(number, "not JSON")
    if not isinstance(document, dict):
        return BrokenRow(number, "not a JSON object")
    messages = document.pop("messages", None)
    problem = _check_messages(messages)
    if problem:
        return BrokenRow(number, problem)
    turns = tuple({"role": turn["role"], "content": turn["content"]} for turn in messages)
    return Row(number, turns, document)


def _check_messages(messages: Any) -> str | None:
    """Return what is wrong with the turns: [system] then user and assistant in turn, ending with the assistant."""
    if not isinstance(messages, list) or not messages:
        return "no messages"
    for turn in messages:
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            return "a message without text content"
        if turn.get("role") not in ROLES:
            return "unknown role"
        if not turn["content"].strip():
            return "empty message"
        if set(turn) - {"role", "content"}:
            return "a message with other fields than role and content"
    roles = [turn["role"] for turn in messages]
    if roles[0] == "system":
        roles = roles[1:]
    if roles[-1:] != ["assistant"]:
        return "the last message is not the assistant's"
    if any(role != ("user", "assistant")[index % 2] for index, role in enumerate(roles)):
        return "roles do not alternate"
    return None
