"""Columns of the listings: their headers, their cells, and which of them a narrow terminal does without. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LESS_IMPORTANT = ("age", "requestedBy", "gate", "approvals", "base", "progress", "message", "model")
"""Columns that a narrow terminal may have to do without, the first of them first; `-o json` and pipes have all."""
TITLES = {
    "waitsFor": "waits for", "requestedBy": "requested by", "servedName": "served name", "deviceHours": "device hours",
}  # fmt: skip


def titles(columns: Sequence[str]) -> list[str]:
    """Return the headers."""
    return [TITLES.get(column, column).upper() for column in columns]


def cells(line: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Return what stands below them."""
    return ["-" if line[column] is None else str(line[column]) for column in columns]
