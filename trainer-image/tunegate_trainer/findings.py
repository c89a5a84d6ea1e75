"""Findings: what a check says. A check names counts and row numbers, never the text of a row."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.api.stages import Finding

SHOWN_ROWS = 20


def block(check: str, message: str, *, count: int = 1, rows: Sequence[int] = ()) -> Finding:
    """Return a finding that refuses the job."""
    return Finding(check=check, action="Block", count=count, rows=list(rows[:SHOWN_ROWS]), message=message)


def warn(check: str, message: str, *, count: int = 1, rows: Sequence[int] = ()) -> Finding:
    """Return a finding that is only shown."""
    return Finding(check=check, action="Warn", count=count, rows=list(rows[:SHOWN_ROWS]), message=message)
