"""Controllers of lineage: show jobs and releases in MLflow. Writers of their own condition, and of nothing else.

While MLflow is down, the condition says so and the record is written later, from the result documents.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, TypeVar

from cachetools import LRUCache
from pydantic import ValidationError

from tunegate.api.datastatement import DataStatement
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.stage.layout import DATA_STATEMENT_MEDIA_TYPE, RESULT_MEDIA_TYPE, STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT, StageResult
from tunegate.controllers.documents import Documents
from tunegate.controllers.mlflow.deleted_jobs import DeletedJobs
from tunegate.controllers.mlflow.recorder import Recorder, Shown, state_of
from tunegate.controllers.reading import read
from tunegate.controllers.services import Services
from tunegate.errors import Terminal, wrong_fields
from tunegate.kube.client import ObjectKey
from tunegate.reconcile.mlflow_records import (
    Outcome,
    job_record,
    plan_job,
    plan_release,
    progress_points,
    release_record,
)
from tunegate.reconcile.naming import stage_repository, statement_repository
from tunegate.reconcile.plan import Plan
from tunegate.release.statement import ReleaseStatement
from tunegate.tracking.mlflow import Tracking, TrackingUnavailable

T = TypeVar("T")
logger = logging.getLogger(__name__)

MANAGER = "tunegate-lineage"
PROGRESS_KEPT = 256
"""Jobs of which the last step shown is known."""
SILENT_SECONDS = 60.0
"""For so long nobody shows progress after MLflow did not take it."""


class _Progress:
    """Shows how a training goes while it runs: best effort, since its result brings the whole history."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steps: LRUCache[str, int] = LRUCache(PROGRESS_KEPT)
        self._silent_until = 0.0

    async def show(self, tracking: Tracking, job: FineTuneJob, outcome: Outcome) -> None:
        """Add the newest numbers to the job's run, each step once."""
        points = progress_points(job, datetime.now(UTC))
        if not points or outcome.written is None or not outcome.recorded or self._clock() < self._silent_until:
            return
        if self._steps.get(job.uid) == points[0].step:
            return
        try:
            await tracking.add_points(outcome.written.identifier, points)
        except TrackingUnavailable as error:
            logger.debug("progress of %s is not shown: %s", job.name, error.message)
            self._silent_until = self._clock() + SILENT_SECONDS
            return
        self._steps[job.uid] = points[0].step


class JobLineageController:
    """Shows each FineTuneJob as a run."""

    kind: ClassVar[str] = "FineTuneJob"
    manager: ClassVar[str] = MANAGER
    shows_progress: ClassVar[bool] = True

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._settings = services.settings
        self._tracking: Tracking | None = services.tracking
        self._documents = Documents(services.registry, services.registry_threads)
        self._recorder = Recorder(services.ledger)
        self._progress = _Progress()
        self._deleted = DeletedJobs(services.kube)
        self._uids: dict[ObjectKey, str] = {}

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Record the job as it is now; None where there is nothing to record, or no MLflow."""
        tracking = self._tracking
        if tracking is None:
            return None
        job = await read(self._kube, FineTuneJob, key.name, key.namespace)
        governed = self._settings.policy_of(key.namespace) is not None
        if job is None or not governed:
            self._recorder.forget(self._uids.pop(key, ""))
        if governed:
            await self._end_runs(tracking, key.namespace, gone=job is None)
        if job is None or not governed:
            return None
        self._uids[key] = job.uid
        state = state_of(job)
        outcome = self._recorder.shown(job.uid, state)
        if outcome is None:
            record = job_record(job, await self._results(job), await self._data(job))
            shown = Shown(job, record, tracking, "run {} of experiment {}")
            outcome = await self._recorder.record(shown, state)
        await self._progress.show(tracking, job, outcome)
        return plan_job(job, outcome, datetime.now(UTC))

    async def _end_runs(self, tracking: Tracking, namespace: str, *, gone: bool) -> None:
        """End the runs of deleted jobs, if that is due. Raises ``TrackingUnavailable`` only for a job that is ``gone``.

        Nothing else may ever ask to look at that job again, so its own key has to come back until MLflow has answered.
        """
        if gone:
            self._deleted.expect(namespace)
        try:
            await self._deleted.end_runs(tracking, namespace)
        except TrackingUnavailable as error:
            if gone:
                raise
            logger.debug("runs of deleted jobs are looked for later: %s", error.message)

    async def _results(self, job: FineTuneJob) -> dict[StageName, StageResult]:
        found: dict[StageName, StageResult] = {}
        for stage in job.status.stages:
            if stage.result_digest is None:
                continue
            repository = f"{stage_repository(job, stage.name)}/results"
            content = await self._documents.read(repository, stage.result_digest, RESULT_MEDIA_TYPE)
            what = f"result of {stage.name} ({stage.result_digest}) is not a stage result"
            found[stage.name] = _parsed(STAGE_RESULT.validate_json, content, "BadResult", what)
        return found

    async def _data(self, job: FineTuneJob) -> DataStatement | None:
        digest = job.status.dataset.statement_digest if job.status.dataset else None
        if digest is None:
            return None
        repository = f"{stage_repository(job, 'Validate')}/results"
        content = await self._documents.read(repository, digest, DATA_STATEMENT_MEDIA_TYPE)
        return _parsed(DataStatement.model_validate_json, content, "BadStatement", f"{digest} is not a data statement")


class ReleaseLineageController:
    """Shows each ModelRelease as a version of a registered model."""

    kind: ClassVar[str] = "ModelRelease"
    manager: ClassVar[str] = MANAGER
    shows_progress: ClassVar[bool] = True

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._settings = services.settings
        self._tracking: Tracking | None = services.tracking
        self._documents = Documents(services.registry, services.registry_threads)
        self._recorder = Recorder(services.ledger)
        self._uids: dict[ObjectKey, str] = {}

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Record the release once its statement is sealed; None before that, or where there is no MLflow."""
        tracking = self._tracking
        if tracking is None:
            return None
        release = await read(self._kube, ModelRelease, key.name, key.namespace)
        if release is None or self._settings.policy_of(key.namespace) is None:
            self._recorder.forget(self._uids.pop(key, ""))
            return None
        self._uids[key] = release.uid
        if release.status.statement_digest is None:
            return None
        statement = await self._statement(release, release.status.statement_digest)
        run_id = await self._run_id(release, statement.job.uid)
        record = release_record(release, statement, self._settings.registry_host, run_id)
        shown = Shown(release, record, tracking, "version {} of registered model {}")
        outcome = await self._recorder.record(shown)
        return plan_release(release, outcome, datetime.now(UTC))

    async def _statement(self, release: ModelRelease, digest: str) -> ReleaseStatement:
        repository = statement_repository(release.namespace, release.name, release.uid)
        content = await self._documents.read(repository, digest, STATEMENT_MEDIA_TYPE)
        what = f"statement {digest} is not a release statement"
        return _parsed(ReleaseStatement.model_validate_json, content, "BadStatement", what)

    async def _run_id(self, release: ModelRelease, uid: str) -> str | None:
        """Return the run of the job that made the adapter, if job and run are still known."""
        job = await read(self._kube, FineTuneJob, release.spec.job_ref.name, release.namespace)
        return job.status.mlflow_run_id if job is not None and job.uid == uid else None


def _parsed(parse: Callable[[bytes], T], content: bytes, reason: str, what_is_wrong: str) -> T:
    """Return the document. Raises ``Terminal`` with the fields that are wrong."""
    try:
        return parse(content)
    except ValidationError as error:
        raise Terminal(reason, f"{what_is_wrong}: {wrong_fields(error)}") from None
