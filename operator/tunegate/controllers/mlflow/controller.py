"""Controllers of lineage: show jobs and releases in MLflow. Writers of their own condition, and of nothing else.

While MLflow is down, the condition says so and the record is written later, from the result documents.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar, TypeVar

from cachetools import LRUCache
from pydantic import ValidationError

from tunegate.api.datastatement import DataStatement
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import FineTuneJobStatus, StageName
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.stage.layout import DATA_STATEMENT_MEDIA_TYPE, RESULT_MEDIA_TYPE, STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT, StageResult
from tunegate.controllers.documents import Documents
from tunegate.controllers.reading import read
from tunegate.controllers.services import Ledger, Services
from tunegate.errors import Terminal, wrong_fields
from tunegate.kube.client import ObjectKey
from tunegate.reconcile.mlflow_records import (
    Outcome,
    drift,
    job_record,
    pause,
    plan_job,
    plan_release,
    progress_points,
    release_record,
)
from tunegate.reconcile.naming import stage_repository, statement_repository
from tunegate.reconcile.plan import AuditEntry, Plan
from tunegate.release.statement import ReleaseStatement
from tunegate.tracking.mlflow import Tracking, TrackingUnavailable
from tunegate.tracking.records import JobRecord, ReleaseRecord, Written, experiment_name

T = TypeVar("T")
logger = logging.getLogger(__name__)

MANAGER = "tunegate-lineage"
VERIFY_SECONDS = 3600.0
"""After so long a record is compared with MLflow again, and repaired if somebody changed it there."""
PROGRESS_KEPT = 256
"""Jobs of which the last step shown is known."""
SOON = 0.1
SILENT_SECONDS = 60.0
"""For so long nobody shows progress after MLflow did not take it."""


@dataclass(frozen=True)
class _Shown:
    """One object and how it is shown."""

    obj: FineTuneJob | ModelRelease
    record: JobRecord | ReleaseRecord
    tracking: Tracking
    place: str
    """Where it stands in MLflow, with `{}` for its id and the name that it stands under."""

    @property
    def recorded(self) -> bool:
        """Whether its status says that MLflow has shown it before."""
        status = self.obj.status
        return bool(status.mlflow_run_id if isinstance(status, FineTuneJobStatus) else status.mlflow_version)

    @property
    def name(self) -> str:
        """Experiment or registered model under which it should stand."""
        record = self.record
        return experiment_name(record.namespace) if isinstance(record, JobRecord) else record.model

    async def write(self) -> Written:
        """Write the record and return where it stands."""
        if isinstance(self.record, JobRecord):
            return await self.tracking.record_job(self.record)
        return await self.tracking.record_release(self.record)

    def outcome(self, written: Written) -> Outcome:
        """Say where it stands, and whether somebody else has the name."""
        place = self.place.format(written.identifier, written.name)
        if written.name == self.name:
            return Outcome(written, place)
        return Outcome(written, f"{place}: MLflow has {self.name} from somebody else", taken=self.name)


class _Recorder:
    """Writes a record once, and again when it has changed or has not been compared for long.

    It keeps the pause after a failure itself: the condition that a failure leaves behind is a change of the object, and
    would otherwise bring the next try at once.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._done: dict[str, tuple[str, Written | None, float]] = {}
        self._failed: dict[str, tuple[int, float, str]] = {}
        self._drifts: dict[str, AuditEntry] = {}

    async def record(self, shown: _Shown) -> Outcome:
        record = shown.record
        fingerprint, written, until = self._done.get(record.uid, ("", None, 0.0))
        if written is not None:
            if fingerprint == record.fingerprint and self._clock() < until:
                return shown.outcome(written)
            # The status may not say it yet.
            known = written.identifier if isinstance(record, JobRecord) else written.name
            shown = replace(shown, record=replace(record, known_as=known))
        failures, due, why = self._failed.get(record.uid, (0, 0.0, ""))
        if failures and self._clock() < due:
            return Outcome(None, why, max(due - self._clock(), 0.1))
        try:
            drifted = await self._drift(shown, fingerprint)
            if drifted is not None:
                return Outcome(written, "", SOON, drifted)
            written = await shown.write()
        except TrackingUnavailable as error:
            why = error.message + "; nothing waits for it, the record is written when it answers"
            self._failed[record.uid] = (failures + 1, self._clock() + pause(failures + 1), why)
            return Outcome(None, why, pause(failures + 1))
        self._failed.pop(record.uid, None)
        self._drifts.pop(record.uid, None)
        self._done[record.uid] = (record.fingerprint, written, self._clock() + VERIFY_SECONDS)
        return shown.outcome(written)

    async def _drift(self, shown: _Shown, written: str) -> AuditEntry | None:
        """Return what has to be recorded before it is set right; None: nothing, or the ledger holds it.

        ``written`` is the fingerprint of what this process wrote last; empty: it wrote nothing of the object yet.
        """
        record, uid = shown.record, shown.record.uid
        if uid not in self._drifts:
            known, recorded = written == record.fingerprint, bool(written) or shown.recorded
            names = await shown.tracking.changed(record, known=known, recorded=recorded)
            if not names:
                return None
            self._drifts[uid] = drift(shown.obj, names, datetime.now(UTC))
        entry = self._drifts[uid]
        held = {record.event_id for record in await self._ledger.of_subject(uid)}
        return None if entry.event_id in held else entry

    def forget(self, uid: str) -> None:
        self._done.pop(uid, None)
        self._failed.pop(uid, None)
        self._drifts.pop(uid, None)


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
        self._documents = Documents(services.registry)
        self._recorder = _Recorder(services.ledger)
        self._progress = _Progress()
        self._uids: dict[ObjectKey, str] = {}

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Record the job as it is now; None where there is nothing to record, or no MLflow."""
        tracking = self._tracking
        job = await read(self._kube, FineTuneJob, key.name, key.namespace)
        if job is None or tracking is None or self._settings.policy_of(key.namespace) is None:
            self._recorder.forget(self._uids.pop(key, ""))
            return None
        self._uids[key] = job.uid
        record = job_record(job, await self._results(job), await self._data(job))
        shown = _Shown(job, record, tracking, "run {} of experiment {}")
        outcome = await self._recorder.record(shown)
        await self._progress.show(tracking, job, outcome)
        return plan_job(job, outcome, datetime.now(UTC))

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
        self._documents = Documents(services.registry)
        self._recorder = _Recorder(services.ledger)
        self._uids: dict[ObjectKey, str] = {}

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Record the release once its statement is sealed; None before that, or where there is no MLflow."""
        tracking = self._tracking
        release = await read(self._kube, ModelRelease, key.name, key.namespace)
        if release is None or tracking is None or self._settings.policy_of(key.namespace) is None:
            self._recorder.forget(self._uids.pop(key, ""))
            return None
        self._uids[key] = release.uid
        if release.status.statement_digest is None:
            return None
        statement = await self._statement(release, release.status.statement_digest)
        run_id = await self._run_id(release, statement.job.uid)
        record = release_record(release, statement, self._settings.registry_host, run_id)
        shown = _Shown(release, record, tracking, "version {} of registered model {}")
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
