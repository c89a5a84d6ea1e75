"""Signs the ledger from time to time, and brings each signed checkpoint to the anchors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.errors import Terminal, Transient
from tunegate.ledger.anchors import AnchorPlace
from tunegate.ledger.seal import KeyRing, read_seal
from tunegate.ledger.writer import LedgerWriter

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 10.0
"""Time between two looks at whether a checkpoint is due."""


def due(after: Sequence[AuditRecordSpec], now: datetime, records: int, age: timedelta) -> bool:
    """Tell whether what came since the last checkpoint is to be signed: so many records, or one of that age."""
    if not after:
        return False
    return len(after) >= records or now - datetime.fromisoformat(after[0].time) >= age


class Checkpoints:
    """One operator's signing; the one that leads runs it. Signing late or not at all stops nothing else."""

    def __init__(
        self,
        ledger: LedgerWriter,
        keys: KeyRing,
        places: Sequence[AnchorPlace],
        *,
        records: int,
        age: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``records`` and ``age``: whichever is reached first after the last checkpoint makes the next one due."""
        self._ledger = ledger
        self._keys = keys
        self._places = places
        self._records = records
        self._age = age
        self._clock = clock
        self._begun = False
        self._kept: dict[str, int] = {}
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> None:
        """Sign if it is time, and bring the newest checkpoint to every anchor that lacks it. Failures are logged once."""
        newest = None
        try:
            newest, after = await self._ledger.since_seal()
            # The first look signs whatever there is: a new leader may have a new key.
            if not self._begun or due(after, self._clock(), self._records, self._age):
                newest = await self._ledger.seal(self._keys)
                self._begun = newest is not None
            self._said.pop("ledger", None)
        except (Transient, Terminal) as error:
            self._say("ledger", f"no checkpoint was signed: {error.message}")
        if newest is not None:
            for place in self._places:
                await self._bring(place, newest)

    async def _bring(self, place: AnchorPlace, newest: AuditRecordSpec) -> None:
        if self._kept.get(place.name) == newest.sequence:
            return
        text = newest.payload["envelope"]
        try:
            await place.keep(int(read_seal(text).content["size"]), text)
        except (Transient, Terminal) as error:
            self._say(place.name, f"anchor {place.name} lacks the newest checkpoint: {error.message}")
            return
        self._kept[place.name] = newest.sequence
        self._said.pop(place.name, None)

    def _say(self, about: str, message: str) -> None:
        if self._said.get(about) != message:
            self._said[about] = message
            logger.error(message)
