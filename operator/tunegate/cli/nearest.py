"""The name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return what is most like ``name``; None where nothing is alike."""
    return next(iter(get_close_matches(name, sorted(set(known)), n=1)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question, with a space before it, that names what is most like ``name``; nothing where nothing is alike."""
    found = nearest(name, known)
    return f" Did you mean {found}?" if found else ""
