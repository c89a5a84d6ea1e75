"""Writes jobs and releases to MLflow, and compares them with it from time to time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import FineTuneJobStatus
from tunegate.api.modelrelease import ModelRelease
from tunegate.controllers.services import Ledger
from tunegate.digests import sha256
from tunegate.reconcile.mlflow_records import Outcome, drift, pause
from tunegate.reconcile.plan import AuditEntry
from tunegate.tracking.mlflow import Tracking, TrackingUnavailable
from tunegate.tracking.records import JobRecord, ReleaseRecord, Written, experiment_name

VERIFY_SECONDS = 3600.0
"""After so long a record is compared with MLflow again, and repaired if somebody changed it there."""
NOT_RECORDED = frozenset({"progress", "message", "conditions", "observedGeneration", "mlflowRunId"})
"""Fields of a job's status that its record does not say."""
SOON = 0.1


@dataclass(frozen=True)
class Shown:
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


@dataclass(frozen=True)
class _Done:
    """How an object was shown last."""

    state: str
    """Digest of everything about the object that the record says; empty: it has to be made to know."""
    fingerprint: str
    written: Written
    outcome: Outcome
    until: float
    """When it is to be compared with MLflow again, by the clock."""


class Recorder:
    """Writes a record once, and again when it has changed or has not been compared for long.

    It keeps the pause after a failure itself: the condition that a failure leaves behind is a change of the object, and
    would otherwise bring the next try at once.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._done: dict[str, _Done] = {}
        self._failed: dict[str, tuple[int, float, str]] = {}
        self._drifts: dict[str, AuditEntry] = {}

    def shown(self, uid: str, state: str) -> Outcome | None:
        """Return how an object is shown whose state has not changed; None: its record has to be made and compared.

        To make a record and its fingerprint takes far longer than a look at a job that only trains on.
        """
        done = self._done.get(uid)
        return done.outcome if done is not None and done.state == state and self._clock() < done.until else None

    async def record(self, shown: Shown, state: str = "") -> Outcome:
        record = shown.record
        done = self._done.get(record.uid)
        fingerprint, written = (done.fingerprint, done.written) if done is not None else ("", None)
        if done is not None and written is not None:
            if fingerprint == record.fingerprint and self._clock() < done.until:
                self._done[record.uid] = replace(done, state=state)
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
        outcome, until = shown.outcome(written), self._clock() + VERIFY_SECONDS
        self._done[record.uid] = _Done(state, record.fingerprint, written, outcome, until)
        return outcome

    async def _drift(self, shown: Shown, written: str) -> AuditEntry | None:
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


def state_of(job: FineTuneJob) -> str:
    """Return the digest of everything about a job that its record is made from: results are named by their digests."""
    status = job.status.to_dict()
    told = {name: value for name, value in status.items() if name not in NOT_RECORDED}
    content = json.dumps([job.metadata["creationTimestamp"], job.spec.to_dict(), told], sort_keys=True)
    return sha256(content.encode())
