"""Reads what was pushed at the addresses that a job names. Whether it was withdrawn is asked each time."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress

from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.pushed import Pushed, PushedPlace
from tunegate.deadlines import REGISTRY_CALL_SECONDS, Threads
from tunegate.errors import Transient
from tunegate.logs import event
from tunegate.reconcile.finetunejob.pushed import named_pushes
from tunegate.registry import failures
from tunegate.registry.client import RegistryClient
from tunegate.registry.pushed import read_push

logger = logging.getLogger(__name__)


class PushedReader:
    """Pushed data, by address."""

    def __init__(self, registry: RegistryClient, threads: Threads) -> None:
        self._registry = registry
        self._threads = threads

    async def read(self, job: FineTuneJob, suites: Iterable[EvaluationSuite] = ()) -> dict[str, Pushed | None]:
        """Return what was pushed; None: nothing, or what no push made. An address that can't be read now is left out.

        ``suites``: those whose questions validation may read.
        """
        found: dict[str, Pushed | None] = {}
        for place in pushed_places(job, suites):
            try:
                found[place.uri] = await self._threads.call(REGISTRY_CALL_SECONDS, read_push, self._registry, place)
            except (Transient, failures.Unauthorized) as error:
                logger.warning(
                    "what was pushed at %s can't be read now: %s", place.uri, error,
                    extra=event("PushUnread", uri=place.uri, error=error),
                )  # fmt: skip
            except failures.RegistryError as error:
                logger.warning(
                    "what lies at %s was not pushed by the exchange: %s", place.uri, error,
                    extra=event("PushRefused", uri=place.uri, error=error),
                )  # fmt: skip
                found[place.uri] = None
        return found


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
