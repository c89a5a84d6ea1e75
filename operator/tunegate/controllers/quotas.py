"""Keeps the Usage of each governed namespace, which says who has reached a bound. Fed by the watch streams.

What exists is held in memory, some hundred bytes each, so that a flood costs one write a second and no listing. What was
deleted within the last day still counts: making a job and deleting it again leaves its records.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tunegate.api.usage import Bound, UsageSpec
from tunegate.controllers.services import Ledger
from tunegate.errors import Terminal, Transient
from tunegate.kube.client import KubeClient
from tunegate.logs import event
from tunegate.reconcile import quotas
from tunegate.reconcile.quotas import DAY, Made
from tunegate.settings import Settings

logger = logging.getLogger(__name__)

MANAGER = "tunegate-quotas"
PAUSE_SECONDS = 1.0
"""Between two writes: what comes meanwhile is one change."""
RETRY_SECONDS = 10.0
ASKED: Mapping[str, tuple[str, Bound]] = {
    "JobRequested": ("FineTuneJob", "Jobs"),
    "ReleaseRequested": ("ModelRelease", "Releases"),
}
"""Record -> kind and bound of what was made, deleted or not."""


class Quotas:
    """What was made in each namespace, and what is written of it."""

    def __init__(
        self,
        kube: KubeClient,
        ledger: Ledger,
        settings: Settings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kube = kube
        self._ledger = ledger
        self._limits = settings.quotas
        self._clock = clock
        self._made: dict[str, dict[str, Made]] = {namespace: {} for namespace in settings.namespaces}
        self._gone: dict[str, dict[str, Made]] = {namespace: {} for namespace in settings.namespaces}
        self._written: dict[str, UsageSpec] = {}
        self._changed = asyncio.Event()

    def note(self, obj: Mapping[str, Any], *, deleted: bool = False) -> None:
        """Take in what a watch stream tells."""
        made, namespace = quotas.read(obj), str(obj["metadata"].get("namespace") or "")
        if made is None or namespace not in self._made:
            return
        if deleted:
            self._made[namespace].pop(made.uid, None)
            self._forget_open(namespace, made)
        elif self._made[namespace].get(made.uid) == made:
            return
        else:
            self._made[namespace][made.uid] = made
        self._changed.set()

    def relist(self, listed: Iterable[tuple[str, Made]]) -> None:
        """Replace what was known by a listing of everything, as pairs of a namespace and what counts there."""
        found: dict[str, dict[str, Made]] = defaultdict(dict)
        for namespace, made in listed:
            found[namespace][made.uid] = made
        for namespace, before in self._made.items():
            for uid, made in before.items():
                if uid not in found[namespace]:
                    self._forget_open(namespace, made)
            self._made[namespace] = found[namespace]
        self._changed.set()

    def _forget_open(self, namespace: str, made: Made) -> None:
        """Keep for its day that something was made, although it is gone."""
        self._gone[namespace][made.uid] = Made(made.uid, made.bound, made.person, made.time)

    async def run(self) -> None:
        """Write forever, when something changed and when a day is over for something."""
        while True:
            wait = await self.try_write()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(PAUSE_SECONDS)

    async def try_write(self) -> float | None:
        """Write what differs; return the seconds until it is to be looked at again though nothing happens."""
        self._changed.clear()
        waits = []
        for namespace in self._made:
            try:
                waits.append(await self._write(namespace))
            except (Transient, Terminal) as error:
                logger.warning(
                    "quotas of %s cannot be written: %s",
                    namespace,
                    error.message,
                    extra=event("QuotaNotWritten", namespace=namespace, error=error.message),
                )
                waits.append(RETRY_SECONDS)
        return min((wait for wait in waits if wait is not None), default=None)

    async def _write(self, namespace: str) -> float | None:
        now = self._clock()
        gone = {uid: made for uid, made in self._gone[namespace].items() if made.time > now - DAY}
        self._gone[namespace] = gone
        known = {**await self._recorded(namespace, now), **gone, **self._made[namespace]}
        content = quotas.usage(known.values(), self._limits, now)
        if self._written.get(namespace) != content:
            await self._kube.apply(quotas.usage_object(namespace, content), manager=MANAGER)
            self._written[namespace] = content
        return quotas.next_change(known.values(), now)

    async def _recorded(self, namespace: str, now: datetime) -> dict[str, Made]:
        """Return what the ledger says was asked for within a day: what was deleted while nobody watched counts too."""
        found = {}
        for type_, (kind, bound) in ASKED.items():
            for record in await self._ledger.of_namespace(kind, namespace, (type_,), now - DAY):
                time = datetime.fromisoformat(record.time).astimezone(UTC)
                person = "" if record.actor.startswith("system:") else record.actor
                found[record.subject.uid] = Made(record.subject.uid, bound, person, time)
        return found
