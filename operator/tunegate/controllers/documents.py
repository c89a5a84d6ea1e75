"""Reads documents from the registry, each once: they are named by their digest, so what is kept never goes stale."""

from __future__ import annotations

import logging

from cachetools import LRUCache
from pydantic import ValidationError

from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT, StageResult
from tunegate.deadlines import REGISTRY_CALL_SECONDS, Threads
from tunegate.errors import Transient, wrong_fields
from tunegate.logs import event
from tunegate.reconcile.attempt.lost_result import LostResult
from tunegate.registry import failures
from tunegate.registry.client import RegistryClient

logger = logging.getLogger(__name__)

KEPT = 256
WHY = 300


class Documents:
    """The last ``kept`` documents stay in memory, so that an outage of the registry stops less."""

    def __init__(self, registry: RegistryClient, threads: Threads, kept: int = KEPT) -> None:
        self._registry = registry
        self._threads = threads
        self._kept: LRUCache[tuple[str, str], bytes] = LRUCache(kept)

    async def read(self, repository: str, digest: str, media_type: str) -> bytes:
        """Return the content. Raises ``RegistryError`` and ``Transient``."""
        key = (repository, digest)
        if key not in self._kept:
            content = await self._threads.call(
                REGISTRY_CALL_SECONDS, self._registry.pull_document, repository, digest, media_type=media_type
            )
            self._kept[key] = content
        return self._kept[key]


class ResultReader:
    """Results of stages, parsed."""

    def __init__(self, registry: RegistryClient, threads: Threads) -> None:
        self._registry = registry
        self._threads = threads
        self._kept: LRUCache[tuple[str, str], StageResult] = LRUCache(KEPT)

    async def read(self, repository: str, digest: str) -> StageResult | LostResult | None:
        """Return the result, ``LostResult`` when it will never be had, or None when it can't be read for now.

        A refused credential counts as "for now": it is the operator's trouble and says nothing about the document.
        """
        key = (repository, digest)
        if key in self._kept:
            return self._kept[key]
        try:
            content = await self._threads.call(
                REGISTRY_CALL_SECONDS, self._registry.pull_document, repository, digest, media_type=RESULT_MEDIA_TYPE
            )
            result = STAGE_RESULT.validate_json(content)
        except (Transient, failures.Unauthorized) as error:
            logger.warning(
                "result %s of %s can't be read now: %s",
                digest,
                repository,
                error,
                extra=event("ResultUnread", digest=digest, repository=repository, error=error),
            )
            return None
        except failures.RegistryError as error:
            return _lost(repository, digest, str(error))
        except ValidationError as error:
            return _lost(repository, digest, wrong_fields(error))
        self._kept[key] = result
        return result


def _lost(repository: str, digest: str, why: str) -> LostResult:
    logger.error(
        "result %s of %s is lost: %s",
        digest,
        repository,
        why,
        extra=event("ResultLost", digest=digest, repository=repository, why=why),
    )
    return LostResult(why[:WHY])
