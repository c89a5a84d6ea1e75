"""Runs of jobs that were deleted before they ended: MLflow would show them as running forever.

A job that is gone tells nobody, least of all an operator that was not running then. So the runs that MLflow shows as running
are compared with the jobs that are there: when a job goes, and once in a while.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import API_VERSION
from tunegate.kube.client import KubeClient
from tunegate.logs import event
from tunegate.tracking.mlflow import Tracking, TrackingUnavailable

logger = logging.getLogger(__name__)
EVERY_SECONDS = 3600.0
SILENT_SECONDS = 60.0
"""For so long nobody asks again after MLflow did not answer: other records must not wait for the same silence."""


class DeletedJobs:
    """Ends the runs of one MLflow server whose jobs are gone."""

    def __init__(self, kube: KubeClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._due: dict[str, float] = {}
        self._silent_until = 0.0
        self._why = ""

    def expect(self, namespace: str) -> None:
        """Look at the namespace at the next occasion: a job of it is gone."""
        self._due.pop(namespace, None)

    async def end_runs(self, tracking: Tracking, namespace: str) -> None:
        """End what is due. While MLflow does not answer nothing is lost: it is due again.

        Raises ``TrackingUnavailable`` while it does not answer, and ``Transient`` or ``Terminal`` of the API server.
        """
        if self._clock() < self._due.get(namespace, 0.0):
            return
        if self._clock() < self._silent_until:
            raise TrackingUnavailable(self._why)
        try:
            running = await tracking.running(namespace)
            # Jobs after runs: no run that is made meanwhile is taken for one whose job is gone.
            jobs = await self._kube.list(API_VERSION, FineTuneJob.KIND.kind, namespace) if running else []
            there = {str(job["metadata"]["uid"]) for job in jobs}
            gone = sorted(run for run, uid in running.items() if uid not in there)
            if gone:
                await tracking.end(gone)
                logger.info("runs of deleted jobs are shown as killed", extra=event("RunsEnded", runs=len(gone)))
        except TrackingUnavailable as error:
            self._silent_until = self._clock() + SILENT_SECONDS
            self._why = f"runs of deleted jobs are not ended yet: {error.message}"
            raise
        self._due[namespace] = self._clock() + EVERY_SECONDS
