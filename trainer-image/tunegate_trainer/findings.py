"""Findings: what a check says. A check names counts and row numbers, never the text of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunegate.api.stages import Finding

SHOWN_ROWS = 20


Place = Callable[[int], str]
"""Where the row of a number lies, for people."""


def block(check: str, message: str, *, count: int = 1, rows: Sequence[int] = (), place: Place = str) -> Finding:
    """Return a finding that refuses the job."""
    shown = [place(number) for number in rows[:SHOWN_ROWS]]
    return Finding(check=check, action="Block", count=count, rows=shown, message=message)


def redact(check: str, message: str, *, count: int = 1, rows: Sequence[int] = (), place: Place = str) -> Finding:
    """Return a finding of something that training will not see."""
    shown = [place(number) for number in rows[:SHOWN_ROWS]]
    return Finding(check=check, action="Redact", count=count, rows=shown, message=message)


def warn(check: str, message: str, *, count: int = 1, rows: Sequence[int] = (), place: Place = str) -> Finding:
    """Return a finding that is only shown."""
    shown = [place(number) for number in rows[:SHOWN_ROWS]]
    return Finding(check=check, action="Warn", count=count, rows=shown, message=message)
