"""What ended jobs have measured, for pools and for later jobs. Fed by the watch streams and the periodic listing.

The jobs themselves are history: thousands of them are not listed and parsed because somebody asks for one number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tunegate.reconcile.measurements import JobMeasurements, PoolRun, UnusableQuestions, measurements_of


class Measurements:
    """The measurements of all jobs that have some, by the job's UID."""

    def __init__(self) -> None:
        self._all: dict[str, JobMeasurements] = {}
        self._baselines: dict[tuple[str, str], set[str]] = {}
        self._pools: dict[str, set[str]] = {}
        self._unusable: dict[tuple[str, str], set[str]] = {}

    def note(self, obj: Mapping[str, Any], *, deleted: bool = False) -> None:
        """Take in what a watch stream says of an object of any kind."""
        if obj["kind"] == "FineTuneJob":
            self._forget(str(obj["metadata"].get("uid") or ""))
            if not deleted and (found := measurements_of(obj)) is not None:
                self._keep(found)

    def relist(self, found: Iterable[JobMeasurements]) -> None:
        """Replace what is known by what a complete listing found."""
        self._all, self._baselines, self._pools, self._unusable = {}, {}, {}, {}
        for one in found:
            self._keep(one)

    def runs(self, pool: str) -> Iterator[PoolRun]:
        """Yield what was measured on the pools that have or had this name."""
        for uid in self._pools.get(pool, ()):
            run = self._all[uid].run
            if run is not None:
                yield run

    def baselines(self, namespace: str, inputs: str) -> list[JobMeasurements]:
        """Return who measured a baseline with these inputs in the namespace, the newest first."""
        found = [self._all[uid] for uid in self._baselines.get((namespace, inputs), ())]
        return sorted(found, key=lambda one: (one.baseline_time, one.job), reverse=True)

    def unusable(self, namespace: str, suite: str, digest: str) -> UnusableQuestions | None:
        """Return what the newest validation in the namespace found wrong with the questions of the suite of that digest."""
        named = (self._all[uid] for uid in self._unusable.get((namespace, suite), ()))
        found = [told for one in named for told in one.unusable if (told.suite, told.digest) == (suite, digest)]
        return max(found, key=lambda told: (told.time, told.job), default=None)

    def _keep(self, one: JobMeasurements) -> None:
        self._all[one.uid] = one
        for told in one.unusable:
            self._unusable.setdefault((one.namespace, told.suite), set()).add(one.uid)
        if one.baseline_inputs:
            self._baselines.setdefault((one.namespace, one.baseline_inputs), set()).add(one.uid)
        if one.run is not None:
            self._pools.setdefault(one.run.pool, set()).add(one.uid)

    def _forget(self, uid: str) -> None:
        one = self._all.pop(uid, None)
        if one is None:
            return
        self._baselines.get((one.namespace, one.baseline_inputs), set()).discard(uid)
        for told in one.unusable:
            self._unusable.get((one.namespace, told.suite), set()).discard(uid)
        if one.run is not None:
            self._pools.get(one.run.pool, set()).discard(uid)
