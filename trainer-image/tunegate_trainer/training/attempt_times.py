"""Seconds of training over all attempts, kept on the workspace: lost work was paid for too."""

from __future__ import annotations

import json
from pathlib import Path

FILE = "attempts.json"


class AttemptLedger:
    """One number for each attempt of the job. Written by the pod that holds rank 0 only."""

    def __init__(self, workspace: Path, attempt: int) -> None:
        self._path = workspace / FILE
        self._attempt = str(attempt)
        self._seconds: dict[str, float] = self._read()

    def _read(self) -> dict[str, float]:
        try:
            return {str(key): float(value) for key, value in json.loads(self._path.read_bytes()).items()}
        except (OSError, ValueError, AttributeError):
            return {}

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
