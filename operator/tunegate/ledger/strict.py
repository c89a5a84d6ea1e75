"""JSON that can be understood in one way only: what is read twice differently must not be verified."""

from __future__ import annotations

import json
from typing import Any


def strict_json(text: str) -> Any:
    """Parse JSON. Raises ``ValueError`` for a name that is there twice, for NaN and infinities, and for deep nesting."""
    try:
        return _decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} is there twice in one object")
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant).decode
