"""Reads what was pushed at the addresses that a job names. Whether it was withdrawn is asked each time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from cachetools import RRCache

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.pushed import Pushed, PushedPlace
from tunegate.deadlines import REGISTRY_CALL_SECONDS, Threads
from tunegate.errors import Transient
from tunegate.logs import event
from tunegate.reconcile.finetunejob.pushed import named_pushes
from tunegate.reconcile.finetunejob.suites import MAX_SUITES, withdrawn_or_absent
from tunegate.registry import failures
from tunegate.registry.client import RegistryClient
from tunegate.registry.pushed import read_push

logger = logging.getLogger(__name__)
KEPT_PUSHES = 4096
"""Of other suites' questions: half a kilobyte each."""


class PushedReader:
    """Pushed data, by address."""

    def __init__(self, registry: RegistryClient, threads: Threads) -> None:
        self._registry = registry
        self._threads = threads
        self._kept: RRCache[str, Pushed] = RRCache(KEPT_PUSHES)

    async def read(
        self, job: FineTuneJob, suite: EvaluationSuite | None = None, others: Sequence[EvaluationSuite] = ()
    ) -> dict[str, Pushed | None]:
        """Return what was pushed; None: nothing, or what no push made. An address that can't be read now is left out.

        ``others``: further suites whose questions validation may read. Of these only as many are asked for as it can read, and
        what was pushed at an address is remembered, since its digest names it.
        """
        named = pushed_places(job, [] if suite is None else [suite])
        found = await self._read(named, {})
        rest = [place for place in pushed_places(job, others) if place not in named]
        room = MAX_SUITES
        while rest and room:
            asked, rest = rest[:room], rest[room:]
            answers = await self._read(asked, self._kept)
            self._kept.update({uri: pushed for uri, pushed in answers.items() if pushed is not None})
            room -= sum(not withdrawn_or_absent(place.uri, answers) for place in asked)
            found |= answers
        return found

    async def _read(self, places: Sequence[PushedPlace], known: Mapping[str, Pushed]) -> dict[str, Pushed | None]:
        """Ask for all of them at once, as far as there are threads."""
        asked = await asyncio.gather(*(self._one(place, known.get(place.uri)) for place in places))
        return {uri: pushed for answer in asked for uri, pushed in answer.items()}

    async def _one(self, place: PushedPlace, known: Pushed | None) -> dict[str, Pushed | None]:
        """Return what was pushed at an address, by it; nothing where it can't be read now."""
        try:
            pushed = await self._threads.call(REGISTRY_CALL_SECONDS, read_push, self._registry, place, known)
        except (Transient, failures.Unauthorized) as error:
            logger.warning(
                "what was pushed at %s can't be read now: %s", place.uri, error,
                extra=event("PushUnread", uri=place.uri, error=error),
            )  # fmt: skip
            return {}
        except failures.RegistryError as error:
            logger.warning(
                "what lies at %s was not pushed by the exchange: %s", place.uri, error,
                extra=event("PushRefused", uri=place.uri, error=error),
            )  # fmt: skip
            return {place.uri: None}
        return {place.uri: pushed}


def pushed_places(job: FineTuneJob, suites: Iterable[EvaluationSuite] = ()) -> list[PushedPlace]:
    """Return the addresses of the job's own namespace that it and the suites name; the planner refuses others."""
    found = []
    for uri in dict.fromkeys([*named_pushes(job), *(suite.spec.data.uri for suite in suites)]):
        with suppress(ValueError):
            found.append(PushedPlace.of(uri))
    return [place for place in found if place.namespace == job.namespace]


def pushed_repositories(job: FineTuneJob, suites: Iterable[EvaluationSuite] = ()) -> list[str]:
    """Return the repositories that the job's stages read pushed data from: bytes, and records of what was withdrawn."""
    return sorted({name for place in pushed_places(job, suites) for name in (place.repository, place.records)})
