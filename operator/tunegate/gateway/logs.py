"""What the gateway writes about itself: nothing that a client sent, whoever logs it.

aiohttp and asyncio put pieces of malformed requests into their messages and tracebacks, bearer tokens among them. So of
other people's loggers only the place in the code and the kinds of the errors are written.
"""

from __future__ import annotations

import logging

from tunegate.logs import JsonLines

OURS = "tunegate"


class GatewayLines(JsonLines):
    """Our own messages as they are, of others only where and what kind."""

    def message_of(self, record: logging.LogRecord) -> str:
        """Return the sentence of our own loggers, else the place of the call."""
        ours = record.name.split(".")[0] == OURS
        return record.getMessage() if ours else f"logged at {record.module}:{record.lineno}"


def configure() -> None:
    """Make every logger of this process write in this way, and nowhere else."""
    handler = logging.StreamHandler()
    handler.setFormatter(GatewayLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
