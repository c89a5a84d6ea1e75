"""JSON that can be understood in one way only: what two readers read differently must be neither verified, passed on nor judged."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder().encode
_OTHERWISE = object()


class RepeatedName(ValueError):
    """A name is there twice in one object."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the name {name!r} is there twice in one object")
        self.name = name


class NotFinite(ValueError):
    """A number is NaN or infinite, or has no place among the doubles: Python would read the last as infinity."""

    def __init__(self) -> None:
        super().__init__("NaN, infinities and numbers beyond the range of doubles are no JSON")


def strict_json(text: str) -> Any:
    """Parse JSON. Raises ``RepeatedName``, ``NotFinite``, and ``ValueError`` for what is no JSON and for deep nesting.

    What gives exactly the same text when it is written again holds none of these: so exported records, which have no
    spaces, are read in less than half the time.
    """
    if (document := _exact(text.rstrip("\n"))) is not _OTHERWISE:
        return document
    try:
        return _decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _exact(text: str) -> Any:
    """Return the document that is written exactly like this, or ``_OTHERWISE``; then nothing of it stays in memory."""
    try:
        document = _read(text)
        return document if _write(document) == text.encode() else _OTHERWISE
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _OTHERWISE  # Whatever it is, the other parser says it.


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        known: set[str] = set()
        for name, _ in pairs:
            if name in known:
                raise RepeatedName(name)
            known.add(name)
    return found


def _constant(_: str) -> Any:
    raise NotFinite


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotFinite
    return number


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float).decode
