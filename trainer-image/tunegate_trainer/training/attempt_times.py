"""Seconds of training over all attempts, kept on the workspace: lost work was paid for too."""

from __future__ import annotations

import json
from pathlib import Path

from tunegate.regular_files import read_regular

FILE = "attempts.json"
LONGEST_SECONDS = 1e9
"""Of an attempt: about thirty years."""


class AttemptLedger:
    """One number for each attempt of the job. Written by the pod that holds rank 0 only."""

    def __init__(self, workspace: Path, attempt: int) -> None:
        self._path = workspace / FILE
        self._attempt = str(attempt)
        self._seconds: dict[str, float] = self._read()

    def _read(self) -> dict[str, float]:
        """Return what earlier attempts recorded. What is no time is left out: the workspace may come from elsewhere."""
        try:
            found = json.loads(read_regular(self._path))
        except (OSError, ValueError, RecursionError):
            return {}
        return {key: float(value) for key, value in found.items() if _is_time(value)} if isinstance(found, dict) else {}

    def record(self, seconds: float) -> None:
        """Set this attempt's time so far."""
        self._seconds[self._attempt] = seconds
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(self._seconds))
        draft.replace(self._path)

    @property
    def total(self) -> float:
        """Seconds of all attempts."""
        return sum(self._seconds.values())


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LONGEST_SECONDS
