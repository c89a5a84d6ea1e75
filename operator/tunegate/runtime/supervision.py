"""Keeps the loops beside the reconciles going: a surprise in one is logged and counted, and ends neither it nor the operator."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from tunegate.logs import event
from tunegate.runtime import metrics

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


async def supervise(
    name: str, run: Callable[[], Awaitable[object]], *, first_pause: float = FIRST_PAUSE_SECONDS
) -> None:
    """Run until it returns; begin again after any exception, with pauses that double while it fails soon after."""
    pause = first_pause
    while True:
        began = time.monotonic()
        try:
            await run()
        except Exception:
            metrics.SIDE_LOOP_FAILURES.labels(name).inc()
            if time.monotonic() - began > LONGEST_PAUSE_SECONDS:
                pause = first_pause
            logger.exception(
                "%s failed and begins again in %g s",
                name,
                pause,
                extra=event("SideLoopFailed", loop=name, seconds=pause),
            )
        else:
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
