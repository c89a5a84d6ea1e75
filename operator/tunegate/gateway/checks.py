"""What a value of a request may be: small checks that return the value to send on, or raise ``Wrong`` naming the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tunegate.gateway.problems import Wrong

Check = Callable[[str, Any], Any]
"""Takes the field's place and its value, returns what is sent on."""
INT64 = 2**63
TOKEN_ID = 2**24
"""Above every vocabulary; the engine knows its own."""
SHOWN = 64
"""Characters of a client's own words that an error repeats."""


class Dropped:
    """Stands for a field that is checked and not sent on: harmless, and the engine does not need it."""


DROPPED = Dropped()


def shown(name: object) -> str:
    """Return a client's word as an error may repeat it."""
    text = str(name)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def boolean(place: str, value: Any) -> Any:
    """Take true or false, nothing that only looks like it."""
    if not isinstance(value, bool):
        raise Wrong(place, "must be true or false")
    return value


def only(*allowed: Any) -> Check:
    """Take one of a few values."""

    def check(place: str, value: Any) -> Any:
        for one in allowed:
            if value == one and type(value) is type(one):
                return value
        raise Wrong(place, f"must be {', '.join(map(_quoted, allowed))}")

    return check


def _quoted(value: Any) -> str:
    return {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)


def whole(low: int, high: int) -> Check:
    """Take a whole number from ``low`` to ``high``."""

    def check(place: str, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(place, f"must be a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float, *, above: bool = False) -> Check:
    """Take a number from ``low`` (or ``above`` it) to ``high``."""

    def check(place: str, value: Any) -> Any:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not fits or (above and value == low):
            raise Wrong(
                place,
                f"must be a number {'above' if above else 'from'} {low:.12g} {'and up ' if above else ''}to {high:.12g}",
            )
        return value

    return check


def text(most: int, least: int = 0) -> Check:
    """Take a string of ``least`` to ``most`` characters."""

    def check(place: str, value: Any) -> Any:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise Wrong(place, f"must be a string of {least} to {most} characters")
        return value

    return check


def each(check: Check, most: int, least: int = 0) -> Check:
    """Take a list of ``least`` to ``most`` values."""

    def check_all(place: str, value: Any) -> Any:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise Wrong(place, f"must be a list of {least} to {most} values")
        return [check(f"{place}[{index}]", one) for index, one in enumerate(value)]

    return check_all


def either(one: Check, many: Check) -> Check:
    """Take a list by ``many``, anything else by ``one``."""

    def check(place: str, value: Any) -> Any:
        return many(place, value) if isinstance(value, list) else one(place, value)

    return check


def token_ids(most: int) -> Check:
    """Take a list of token ids."""

    def check(place: str, value: Any) -> Any:
        fits = isinstance(value, list) and 0 < len(value) <= most
        if not fits or not all(type(one) is int and 0 <= one < TOKEN_ID for one in value):
            raise Wrong(place, f"must be a list of 1 to {most} token ids")
        return value

    return check


def by_kind(kinds: Mapping[str, Check], default: str) -> Check:
    """Take an object by the check of its `type`. ``default``: the kind of one that names none; empty: it has to."""

    def check(place: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise Wrong(place, f"must be an object whose type is one of {', '.join(sorted(kinds))}")
        kind = value.get("type") or default
        if not isinstance(kind, str) or kind not in kinds:
            raise Wrong(f"{place}.type", f"must be one of {', '.join(sorted(kinds))}: nothing else is taken")
        return kinds[kind](place, value)

    return check


def fields(
    known: Mapping[str, Check],
    required: tuple[str, ...] = (),
    what: str = "",
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Check:
    """Take an object of ``known`` fields and no other. A field that is null counts as absent.

    ``refused``: why a field that others take is not taken here, to say so.
    """

    def check(place: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise Wrong(place, f"must be an object{f' ({what})' if what else ''}")
        kept: dict[str, Any] = {}
        for name, one in value.items():
            if one is None:
                continue
            inner = f"{place}.{shown(name)}" if place else shown(name)
            if name in refused:
                raise Wrong(inner, f"not taken: {refused[name]}", "field_not_allowed")
            if name not in known:
                raise Wrong(inner, f"not allowed here. Allowed: {', '.join(sorted(known))}", "field_not_allowed")
            if (found := known[name](inner, one)) is not DROPPED:
                kept[name] = found
        for name in required:
            if value.get(name) is None:
                raise Wrong(f"{place}.{name}" if place else name, "is required", "field_missing")
        return kept

    return check


def dropped(check: Check) -> Check:
    """Check a field, and do not send it on."""

    def check_and_drop(place: str, value: Any) -> Any:
        check(place, value)
        return DROPPED

    return check_and_drop


def anything(place: str, value: Any) -> Any:
    """Take whatever it is: only for what is dropped, whose size the body's bound limits."""
    return value
