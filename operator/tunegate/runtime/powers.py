"""Keeps looking who holds which power, and says what changed where the platform's people see it: log and metrics."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from tunegate.errors import Terminal, Transient
from tunegate.logs import event
from tunegate.rbac.watch import PowerWatch
from tunegate.runtime import metrics

logger = logging.getLogger(__name__)


async def keep_looking(watch: PowerWatch, seconds: float) -> None:
    """Look forever, every so many ``seconds``. If RBAC cannot be read, the metric is removed; alert on its absence."""
    while True:
        try:
            for change in await watch.look(datetime.now(UTC)):
                logger.warning(
                    "who could get around the rules changed: %s", change, extra=event("PowersChanged", change=change)
                )
                metrics.POWERS_CHANGED.inc()
            for power, names in watch.held.items():
                metrics.POWER_HOLDERS.labels(power).set(len(names))
        except (Transient, Terminal) as error:
            logger.warning(
                "who could get around the rules cannot be read or recorded: %s",
                error.message,
                extra=event("PowersUnread", error=error.message),
            )
            metrics.POWER_HOLDERS.clear()
        await asyncio.sleep(seconds)
