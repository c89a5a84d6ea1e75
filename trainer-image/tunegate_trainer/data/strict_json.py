"""JSON as RFC 8259 has it: Python's reader also takes NaN, turns 1e999 into infinity, and of repeated keys keeps the last."""

from __future__ import annotations

import json
import math
from typing import Any


class NotJson(ValueError):
    """A text that is not one JSON value. The message names the kind of problem, never the text."""


def parse_json(text: str) -> Any:
    """Return the JSON value that ``text`` is. Raises ``NotJson``, also for NaN, Infinity and repeated keys."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_number, object_pairs_hook=_object)
    except NotJson:
        raise
    except (ValueError, RecursionError) as error:
        raise NotJson("not JSON") from error


def _refuse(_constant: str) -> Any:
    raise NotJson("not JSON: NaN and Infinity are no JSON numbers")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJson("not JSON: a number is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotJson("a key stands twice in one object")
    return value
