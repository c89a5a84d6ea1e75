"""Every single alteration of a document, place by place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tests.support.ledgers import Json

Path = tuple[str | int, ...]
GONE = object()


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of everything in a document: of leaves, and of what holds them."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def at(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def others(value: Any) -> list[Any]:
    """Return what may stand in place of a value: nothing, another value of its type, one of another type."""
    match value:
        case int():
            return [GONE, value + 1, 1 - value, str(value), float(value), None]
        case str():
            return [GONE, value + "x", value[1:], value.swapcase(), "", None, 1, [value]]
        case dict():
            return [GONE, {}, {**value, "added": "x"}, None, "x"]
        case _:
            return [GONE, [], [*value, "x"], None]


def altered(document: Json, *, few: bool = False) -> Iterator[tuple[Path, Json]]:
    """Yield a document with each of its places altered, each in every way, or in a ``few``: gone, and another value."""
    for path in places(document):
        for other in others(at(document, path))[: 2 if few else None]:
            made = copy.deepcopy(document)
            if other is GONE:
                del at(made, path[:-1])[path[-1]]
            else:
                at(made, path[:-1])[path[-1]] = other
            if made != document or type(other) is float:
                yield path, made
