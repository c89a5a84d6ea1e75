"""Reads the whole ledger again from time to time: what somebody changed in etcd's own files shows without a restart."""

from __future__ import annotations

import asyncio
import logging

from tunegate.errors import Terminal, Transient
from tunegate.ledger.writer import LedgerWriter
from tunegate.logs import event

logger = logging.getLogger(__name__)

RETRY_SECONDS = 600.0
"""Until the next try where the API server could not be asked."""


async def keep_rereading(ledger: LedgerWriter, hours: float) -> None:
    """Read forever, ``hours`` after the start and after each reading that worked; at the start it is read anyway."""
    pause = hours * 3600
    while True:
        await asyncio.sleep(pause)
        pause = hours * 3600
        try:
            for problem in await ledger.reread():
                logger.error(
                    "nothing new is approved or rolled out: the ledger was changed: %s",
                    problem,
                    extra=event("LedgerChanged", problem=problem),
                )
        except (Transient, Terminal) as error:
            pause = min(pause, RETRY_SECONDS)
            logger.warning(
                "the ledger could not be read again: %s",
                error.message,
                extra=event("LedgerUnread", error=error.message),
            )
