"""Names of environment variables: one that nothing reads is a mistake, and is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

PREFIX = "TUNEGATE_"


def unknown_variables(given: Iterable[str], known: Collection[str]) -> list[str]:
    """Return a sentence for each name of ``given`` with the prefix that is not ``known``, with the nearest known name."""
    return [_sentence(name, known) for name in sorted(given) if name.startswith(PREFIX) and name not in known]


def _sentence(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "; remove it")
