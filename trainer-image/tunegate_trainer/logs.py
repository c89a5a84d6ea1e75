"""A stage's log, on standard output, so that a collector needs no parsing rules."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from tunegate.logs import JsonLines


class StageLines(JsonLines):
    """Adds the stage."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage

    def context_of(self, record: logging.LogRecord) -> Mapping[str, object]:
        """Return the stage."""
        return {"stage": self._stage}


def start_logging(stage: str) -> None:
    """Send every logger's records (level INFO, libraries WARNING) to standard output as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(StageLines(stage))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tunegate_trainer").setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        os.environ.setdefault(name, "1")  # read when the libraries are imported: bars are no log lines
