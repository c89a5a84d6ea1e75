"""The name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question, with a space before it, that names what is most like ``name``; nothing where nothing is alike."""
    found = get_close_matches(name, sorted(set(known)), n=1)
    return f" Did you mean {found[0]}?" if found else ""
