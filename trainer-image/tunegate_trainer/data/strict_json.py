"""Strict JSON of data and answers. Messages name the kind of problem, never the text."""

from __future__ import annotations

from typing import Any

from tunegate.strict_json import NotFinite, RepeatedName, strict_json


class NotJson(ValueError):
    """A text that is not one JSON value; the message says why."""


def parse_json(text: str) -> Any:
    """Return the JSON value that ``text`` is. Raises ``NotJson``, also for NaN, numbers that are too large and repeated keys."""
    try:
        return strict_json(text)
    except RepeatedName as error:
        raise NotJson("a key stands twice in one object") from error
    except NotFinite as error:
        raise NotJson("not JSON: NaN, Infinity and numbers beyond the range of doubles are no JSON numbers") from error
    except ValueError as error:
        raise NotJson("not JSON") from error
