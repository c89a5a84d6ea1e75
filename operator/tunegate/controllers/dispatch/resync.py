"""Resync: a periodic live listing, so that nothing depends on having seen every event.

What watch streams tell while a listing is being read may be newer than its pages, so it is taken in once more afterwards.

Most listings leave history out, by field selector. A complete one at the start and then once an hour finds what was deleted or
ended unseen. Listings are read a page at a time, and of each object only what is needed is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tunegate.api.kinds import KINDS
from tunegate.api.markers import API_VERSION, Kind
from tunegate.controllers.dispatch.facts import Facts, Target, facts_of, key_of
from tunegate.controllers.dispatch.routing import Routed, Routing
from tunegate.controllers.dispatch.triggers import UNWATCHED
from tunegate.controllers.measurements import Measurements
from tunegate.controllers.quotas import Quotas
from tunegate.kube.client import KubeClient, ObjectKey
from tunegate.reconcile import quotas
from tunegate.reconcile.history import OPEN_ONLY
from tunegate.reconcile.measurements import JobMeasurements, measurements_of

COMPLETE_SECONDS = 3600.0
"""Between two complete listings."""
ONLY_COMPLETE = frozenset({"Approval"})
"""No controller looks at one by itself, and all are history: the object that one names is looked at, and it finds them."""


class Resync:
    """Feeds the routing, the quotas and the measurements, from the watch streams and from listings; nothing else must."""

    def __init__(
        self,
        kube: KubeClient,
        namespaces: tuple[str, ...],
        routing: Routing,
        quotas: Quotas,
        measurements: Measurements,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._namespaces = namespaces
        self._routing = routing
        self._quotas = quotas
        self._measurements = measurements
        self._clock = clock
        self._completed: float | None = None
        self._part = 0
        self._meanwhile: dict[tuple[Target, str], tuple[Mapping[str, Any], bool]] | None = None
        """The newest that was told of each object since a listing began; None: none is being read."""
        self._found: dict[Target, None] = {}
        """Keys to look at; a listing that fails leaves them for the next one."""

    def note(self, obj: Mapping[str, Any], *, deleted: bool = False) -> Routed:
        """Take in what a watch stream tells of an object of ours, and return what it concerns."""
        if self._meanwhile is not None:
            known = ((obj["kind"], key_of(obj)), str(obj["metadata"].get("uid") or ""))
            self._meanwhile.pop(known, None)
            self._meanwhile[known] = (obj, deleted)
        return self._take(obj, deleted)

    def _take(self, obj: Mapping[str, Any], deleted: bool) -> Routed:
        self._quotas.note(obj, deleted=deleted)
        self._measurements.note(obj, deleted=deleted)
        return self._routing.of_resource(obj, deleted=deleted)

    async def run(self) -> list[Target]:
        """List and return the keys to look at.

        Keys that were known but are not listed come back too: their controllers see that the object is gone.
        Raises ``Transient`` or ``Terminal`` when a listing fails: half a listing replaces nothing of the failed kind.
        """
        self._meanwhile = {}
        try:
            if self._completed is not None and self._clock() - self._completed < COMPLETE_SECONDS:
                await self._open()
            else:
                await self._complete()
                self._completed, self._part = self._clock(), self._part + 1
        finally:
            told, self._meanwhile = self._meanwhile, None
            for obj, deleted in told.values():
                self._take(obj, deleted)
        found, self._found = list(self._found), {}
        return found

    async def _open(self) -> None:
        for kind in _kinds():
            if kind.kind not in ONLY_COMPLETE:
                listed = await self._listed(kind, OPEN_ONLY.get(kind.kind))
                self._add(self._routing.relist_open(kind.kind, listed, datetime.now(UTC)))

    async def _complete(self) -> None:
        counted: list[tuple[str, quotas.Made]] = []
        jobs: list[JobMeasurements] = []
        for kind in _kinds():
            listed = await self._listed(kind, None, counted, jobs)
            self._add(self._routing.relist(kind.kind, listed, datetime.now(UTC), self._part))
        self._quotas.relist(counted)
        self._measurements.relist(jobs)

    def _add(self, targets: Iterable[Target]) -> None:
        self._found |= dict.fromkeys(targets)

    async def _listed(
        self,
        kind: Kind,
        fields: str | None,
        counted: list[tuple[str, quotas.Made]] | None = None,
        jobs: list[JobMeasurements] | None = None,
    ) -> dict[ObjectKey, Facts]:
        """Return the facts of all objects of a kind; what counts for quotas and what jobs measured is added to the lists."""
        found: dict[ObjectKey, Facts] = {}
        for namespace in ("",) if kind.scope == "Cluster" else self._namespaces:
            async for page in self._kube.pages(API_VERSION, kind.kind, namespace, fields=fields):
                for obj in page:
                    found[key_of(obj)] = facts_of(obj)
                    if counted is not None and (made := quotas.read(obj)) is not None:
                        counted.append((namespace, made))
                    if jobs is not None and kind.kind == "FineTuneJob" and (one := measurements_of(obj)) is not None:
                        jobs.append(one)
        return found


def _kinds() -> list[Kind]:
    return [model.KIND for model in KINDS if model.KIND.kind not in UNWATCHED]
