"""Log lines of every program: one JSON object each, with an event to search for and its data as fields.

Sentences may change; events and fields are what alerts and people rely on. docs/log-events.md lists them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType

FRAMES = 8
"""Innermost places of a traceback that are named, and errors of a chain of causes."""


def event(name: str, /, **fields: object) -> dict[str, object]:
    """Return the `extra` of a logger's call: what happened, in CamelCase, and its data."""
    return {"event": name, "fields": fields}


class JsonLines(logging.Formatter):
    """A line has `time`, `level`, `logger`, `message`; ours also `event` and its fields; `error` names what was raised.

    Errors are named by kind and place, since their texts may quote data of people.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; lone surrogates are spelled out, so that it can always be written."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message_of(record),
        }
        if (name := getattr(record, "event", None)) is not None:
            line["event"] = name
        line |= self.context_of(record)
        fields: Mapping[str, object] = getattr(record, "fields", {})
        line |= {key: _plain(value) for key, value in fields.items() if key not in line}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["error"] = self.text_of(error)
        text = json.dumps(line, ensure_ascii=False, default=str)
        return text.encode("utf-8", "backslashreplace").decode()

    def message_of(self, record: logging.LogRecord) -> str:
        """Return the sentence."""
        return record.getMessage()

    def context_of(self, record: logging.LogRecord) -> Mapping[str, object]:
        """Return what the program knows of the moment."""
        return {}

    def text_of(self, error: BaseException) -> str:
        """Return what is told of an error."""
        return kinds(error)


def _plain(value: object) -> object:
    """Return the value as JSON knows it, which has neither NaN nor infinities."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def kinds(error: BaseException) -> str:
    """Return the kinds of an error and of what caused it, and where, without any of their texts."""
    found: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(found) < FRAMES:
        found.append(f"{type(cause).__name__} at {_places(cause.__traceback__)}")
        cause = cause.__cause__ or cause.__context__
    return " from ".join(found)


def _places(trace: TracebackType | None) -> str:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return ", ".join(places[-FRAMES:]) or "an unknown place"
