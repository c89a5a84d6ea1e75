"""Findings: what a check says. A check names counts and row numbers, never the text of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunegate.api.stage.findings import Finding, FindingAction

SHOWN_ROWS = 20


Place = Callable[[int], str]
"""Where the row of a number lies, for people."""


def finding(
    action: FindingAction, check: str, message: str, *, count: int = 1, rows: Sequence[int] = (), place: Place = str
) -> Finding:
    """Return what a check found, with the first places."""
    shown = [place(number) for number in rows[:SHOWN_ROWS]]
    return Finding(check=check, action=action, count=count, rows=shown, message=message)


def block(check: str, message: str, *, count: int = 1, rows: Sequence[int] = (), place: Place = str) -> Finding:
    """Return a finding that refuses the job."""
    return finding("Block", check, message, count=count, rows=rows, place=place)


def warn(check: str, message: str, *, count: int = 1, rows: Sequence[int] = (), place: Place = str) -> Finding:
    """Return a finding that is only shown."""
    return finding("Warn", check, message, count=count, rows=rows, place=place)
