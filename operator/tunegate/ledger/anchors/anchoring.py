"""Signs the ledger from time to time, and brings each signed checkpoint to the anchors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tunegate.errors import Terminal, Transient
from tunegate.ledger.anchors.places import AnchorPlace, Checkpoint
from tunegate.ledger.anchors.timestamps import TimeAuthority
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter, SinceSeal
from tunegate.logs import event

logger = logging.getLogger(__name__)

LEDGER, STAMPS = "ledger", "time stamps"
PAUSE_SECONDS = 10.0
"""Time between two looks at whether a checkpoint is due."""


def due(since: SinceSeal, now: datetime, records: int, age: timedelta) -> bool:
    """Tell whether what came since the last checkpoint is to be signed: so many records, or one of that age."""
    if not since.records:
        return False
    return since.records >= records or now - datetime.fromisoformat(since.oldest) >= age


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
        authority: TimeAuthority | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``records`` and ``age``: whichever is reached first after the last checkpoint makes the next one due.

        ``authority`` stamps checkpoints; without one they are kept as they are.
        """
        self._ledger = ledger
        self._keys = keys
        self._places = places
        self._records = records
        self._age = age
        self._authority = authority
        self._clock = clock
        self._begun = False
        self._kept: dict[str, Checkpoint] = {}
        self._stamped: Checkpoint | None = None
        self._said: dict[str, str] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of what can fail by itself: signing, each anchor, time stamps."""
        stamps = () if self._authority is None else (STAMPS,)
        return (LEDGER, *(place.name for place in self._places), *stamps)

    def works(self, part: str) -> bool:
        """Tell whether a part did what it should at the last look."""
        return part not in self._said

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> None:
        """Sign if it is time, and bring the newest checkpoint to every anchor that lacks it. Failures are logged once."""
        newest = None
        try:
            since = await self._ledger.since_seal()
            newest = since.newest
            # The first look signs whatever there is: a new leader may have a new key.
            if not self._begun or due(since, self._clock(), self._records, self._age):
                newest = await self._ledger.seal(self._keys)
                self._begun = newest is not None
            self._said.pop(LEDGER, None)
        except (Transient, Terminal) as error:
            self._say(LEDGER, f"no checkpoint was signed: {error.message}")
        if newest is not None:
            await self._bring_all(Checkpoint.of(newest.payload["envelope"]))

    async def _bring_all(self, newest: Checkpoint) -> None:
        """Bring it to the anchors at once, and once more when the authority has stamped it."""
        await asyncio.gather(*(self._bring(place, newest) for place in self._places))
        if self._authority is None:
            return
        if self._stamped is None or self._stamped.text != newest.text:
            try:
                self._stamped = replace(newest, token=await self._authority.stamp(newest.text.encode()))
            except (Transient, Terminal) as error:
                self._say(STAMPS, f"the newest checkpoint has no time stamp: {error.message}")
                return
            self._said.pop(STAMPS, None)
        stamped = self._stamped
        await asyncio.gather(*(self._bring(place, stamped) for place in self._places if place.takes_tokens))

    async def _bring(self, place: AnchorPlace, checkpoint: Checkpoint) -> None:
        kept = self._kept.get(place.name)
        if kept is not None and kept.text == checkpoint.text and (kept == checkpoint or checkpoint.token is None):
            return
        try:
            await place.keep(checkpoint)
        except (Transient, Terminal) as error:
            self._say(place.name, f"anchor {place.name} lacks the newest checkpoint: {error.message}")
            return
        self._kept[place.name] = checkpoint
        self._said.pop(place.name, None)

    def _say(self, about: str, message: str) -> None:
        if self._said.get(about) != message:
            self._said[about] = message
            logger.error(message, extra=event("LedgerPartFailed", part=about, error=message))
