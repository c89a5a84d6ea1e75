"""The checkpoints that anchors hold, read once and in the background: a folder that hangs holds no lock and no reconcile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from tunegate.errors import Terminal, Transient
from tunegate.ledger.comparison import Anchor
from tunegate.logs import event

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long appending waits for a reading that began so long ago; after that it fails at once until the reading has ended."""
LONGEST_PAUSE_SECONDS = 60.0
"""A reading that failed slowly is followed by a pause as long as it took, up to this: meanwhile appending fails at once."""


class KeptAnchors:
    """One reading of all anchors, shared by everybody who waits for it."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[Anchor]]],
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._read = read
        self._patience = patience
        self._reading: asyncio.Task[Sequence[Anchor]] | None = None
        self._began = 0.0
        self._ended = 0.0
        self._kept: Sequence[Anchor] | None = None

    @property
    def read(self) -> Sequence[Anchor]:
        """What was read. Only after ``wait`` has returned once."""
        if self._kept is None:
            raise AssertionError("the anchors are used before they were read")
        return self._kept

    async def wait(self, patience: float | None = None) -> None:
        """Return once the anchors have been read. Raises ``Transient`` while they have not, ``Terminal`` as reading does.

        ``patience``: seconds since the reading began, instead of the usual ones.
        """
        if self._kept is not None:
            return
        loop = asyncio.get_running_loop()
        reading = self._reading
        took = self._ended - self._began
        pause = min(took, LONGEST_PAUSE_SECONDS) if took >= self._patience else 0.0
        if reading is None or (reading.done() and loop.time() - self._ended >= pause):
            reading = self._reading = asyncio.ensure_future(self._read_all())
            self._began = loop.time()
        left = self._began + (self._patience if patience is None else patience) - loop.time()
        if not reading.done():
            await asyncio.wait([reading], timeout=max(0.0, left))
        if not reading.done():
            raise Transient(
                f"the anchors of the ledger have been read for {loop.time() - self._began:.0f} s and do not answer: nothing "
                "is recorded until they do"
            )
        self._kept = reading.result()

    async def _read_all(self) -> Sequence[Anchor]:
        loop = asyncio.get_running_loop()
        try:
            return await self._read()
        except (Transient, Terminal) as error:
            logger.error(
                "the anchors of the ledger cannot be read, so nothing is recorded: %s",
                error.message,
                extra=event("AnchorsUnread", error=error.message),
            )
            raise
        finally:
            self._ended = loop.time()
