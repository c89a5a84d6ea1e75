"""Reads documents from the registry, each once: they are named by their digest, so what is kept never goes stale."""

from __future__ import annotations

import logging

from cachetools import RRCache
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

KEPT_BYTES = 16 * 1024 * 1024
"""Of documents that one reader keeps: the statements of some thousand releases."""
KEPT_RESULTS = 512
WHY = 300


class Documents:
    """Up to ``kept_bytes`` of documents stay in memory, so that an outage of the registry stops less.

    Where there are more, a random one goes. The least recently used one would be the wrong choice: objects are looked at in
    their order, again and again, and each document would go just before it is needed again.
    """

    def __init__(self, registry: RegistryClient, threads: Threads, kept_bytes: int = KEPT_BYTES) -> None:
        self._registry = registry
        self._threads = threads
        self._kept: RRCache[tuple[str, str], bytes] = RRCache(kept_bytes, getsizeof=len)

    async def read(self, repository: str, digest: str, media_type: str) -> bytes:
        """Return the content. Raises ``RegistryError`` and ``Transient``."""
        key = (repository, digest)
        content = self._kept.get(key)
        if content is None:
            content = await self._threads.call(
                REGISTRY_CALL_SECONDS, self._registry.pull_document, repository, digest, media_type=media_type
            )
            if len(content) <= self._kept.maxsize:
                self._kept[key] = content
        return content


class ResultReader:
    """Results of stages, parsed."""

    def __init__(self, registry: RegistryClient, threads: Threads) -> None:
        self._registry = registry
        self._threads = threads
        self._kept: RRCache[tuple[str, str], StageResult] = RRCache(KEPT_RESULTS)

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
