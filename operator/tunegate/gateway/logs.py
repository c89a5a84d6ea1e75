"""What the gateway writes about itself: nothing that a client sent, whoever logs it.

aiohttp and asyncio put pieces of malformed requests into their messages and tracebacks, bearer tokens among them. So of
other people's loggers only the place in the code and the kinds of the errors are written.
"""

from __future__ import annotations

import logging
import logging.config
from types import TracebackType

OURS = "tunegate"
FRAMES = 4
"""Innermost places of a traceback that are named."""


class Discreet(logging.Formatter):
    """One line a record: our own messages as they are, of others only where and what kind."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        ours = record.name.split(".")[0] == OURS
        said = record.getMessage() if ours else f"logged at {record.module}:{record.lineno}"
        error = record.exc_info[1] if record.exc_info else None
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {said}"
        return " ".join((line if error is None else f"{line}: {kinds(error)}").splitlines())


def kinds(error: BaseException) -> str:
    """Return the kinds of an error and of what caused it, and where, without any of their texts."""
    found: list[str] = []
    one: BaseException | None = error
    while one is not None and len(found) < FRAMES:
        found.append(f"{type(one).__name__} at {_place(one.__traceback__)}")
        one = one.__cause__ or one.__context__
    return " from ".join(found)


def _place(trace: TracebackType | None) -> str:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(places[-FRAMES:]) or "an unknown place"


def configure() -> None:
    """Make every logger of this process write in this way, and nowhere else."""
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
