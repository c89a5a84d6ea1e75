"""Runs kopf on a thread with an event loop of its own.

Why a thread: kopf cancels every task of its loop when it stops, ours included, and takes over the process's signals when
it runs on the main thread. What it reports crosses over by ``call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any

import kopf

from tunegate.controllers.dispatch.triggers import Report, Source, configuration, registry
from tunegate.logs import event
from tunegate.settings import Settings

logger = logging.getLogger(__name__)


class Watching:
    """kopf's watch streams: cluster-scoped kinds, and everything else in the governed namespaces.

    The system namespace is not watched: all that happens there is the hashing of base models, whose controller looks
    every few seconds, and so the operator needs no right to list other things there.
    """

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    async def run(self) -> None:
        """Watch until cancelled. Raises whatever ended kopf, or ``RuntimeError`` when it ended by itself."""
        if not self._settings.namespaces:
            logger.warning(
                "no namespace is governed: objects are looked at only every resync", extra=event("NothingGoverned")
            )
            await self._loop.create_future()
        self._thread.start()
        await asyncio.shield(self._ended)
        raise RuntimeError("the watch streams ended although nobody asked them to")

    async def stop(self, seconds: float = 10.0) -> None:
        """Ask kopf to stop and wait for it, for so many seconds at most."""
        self._stop.set()
        if not seconds or not self._thread.is_alive():
            return
        await asyncio.to_thread(self._thread.join, seconds)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(
                kopf.operator(
                    registry=registry(self._cross, self._settings),
                    settings=configuration(),
                    namespaces=list(self._settings.namespaces),
                    standalone=True,
                    stop_flag=self._stop,
                )
            )
        except BaseException as caught:
            error = caught
        if not self._stop.is_set():
            self._loop.call_soon_threadsafe(self._end, error)

    def _end(self, error: BaseException | None) -> None:
        if not self._ended.done():
            if error is None:
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)

    def _cross(self, source: Source, obj: Mapping[str, Any], deleted: bool) -> None:
        self._loop.call_soon_threadsafe(self._report, source, obj, deleted)
