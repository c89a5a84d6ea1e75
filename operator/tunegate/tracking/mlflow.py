"""The MLflow client of the operator: writes records so that writing them again changes nothing.

The library blocks, and takes seconds and 90 MB to import: it is imported at the first call, runs in two threads of its
own, and every call has a time limit. A server that does not answer costs a condition on the object, nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from tunegate.deadlines import MLFLOW_SECONDS, Threads
from tunegate.errors import Transient
from tunegate.tracking.experiments import find_experiment, own_experiment
from tunegate.tracking.records import (
    CHECKPOINT_SIZE_TAG,
    CHECKPOINT_TAG,
    LEDGER_EXPERIMENT,
    JobRecord,
    MetricPoint,
    ReleaseRecord,
    Written,
)
from tunegate.tracking.runs import changed_job, end_runs, running_runs, write_job, write_points
from tunegate.tracking.versions import changed_release, write_release

T = TypeVar("T")
REQUEST_SECONDS = 10
MAX_REASON = 300


class TrackingUnavailable(Transient):
    """MLflow does not answer, or refuses: try again later, go on with everything else."""


@dataclass(frozen=True)
class Login:
    """Files with the credential, read at every call: a rotated password acts at once."""

    username: Path
    password: Path


class Tracking:
    """One MLflow server. Safe to use from several tasks."""

    def __init__(self, uri: str, *, login: Login | None = None, ca_file: Path | None = None) -> None:
        self._uri = uri
        self._login = login
        self._ca_file = ca_file
        self._threads = Threads(f"MLflow at {uri}", 2, TrackingUnavailable)

    async def record_job(self, record: JobRecord) -> Written:
        """Write a job's run. Raises ``TrackingUnavailable``."""
        return await self._call(lambda: write_job(self._connect(), record))

    async def record_release(self, record: ReleaseRecord) -> Written:
        """Write a release's model version. Raises ``TrackingUnavailable``."""
        return await self._call(lambda: write_release(self._connect(), record))

    async def add_points(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        """Add numbers to a run that exists. Raises ``TrackingUnavailable``."""
        await self._call(lambda: write_points(self._connect(), run_id, points))

    async def running(self, namespace: str) -> dict[str, str]:
        """Return the runs that are shown as running, with their jobs' uids. Raises ``TrackingUnavailable``."""
        return await self._call(lambda: running_runs(self._connect(), namespace))

    async def end(self, runs: Sequence[str]) -> None:
        """Show runs as killed whose jobs were deleted. Raises ``TrackingUnavailable``."""
        await self._call(lambda: end_runs(self._connect(), runs))

    async def changed(self, record: JobRecord | ReleaseRecord, *, known: bool, recorded: bool) -> tuple[str, ...]:
        """Return what is not as it was written, sorted: names of tags, `description`, `source`, `stage`, `alias NAME`,
        `name NAME` for one that somebody else took, `run` for another's that claims to be the job's, or `gone` where
        nothing is left of what was ``recorded``. Raises ``TrackingUnavailable``.

        No text differs where the fingerprint tag says that another record was written last; ``known``: the caller wrote
        exactly this one, so that a changed fingerprint is a change like any other.
        """
        return await self._call(lambda: self._changed(record, known, recorded))

    async def record_checkpoint(self, size: int, text: str) -> None:
        """Show the ledger's newest signed checkpoint as tags of an experiment. Raises ``TrackingUnavailable``."""
        await self._call(lambda: self._record_checkpoint(size, text))

    async def read_checkpoint(self) -> str | None:
        """Return the checkpoint that is shown, None where none is. Raises ``TrackingUnavailable``."""
        return await self._call(self._read_checkpoint)

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await self._threads.call(MLFLOW_SECONDS, work)
        except TrackingUnavailable:
            raise
        except Exception as error:
            # The library raises many kinds, of requests and of its own; whichever it is, lineage is late and no more.
            raise TrackingUnavailable(f"MLflow at {self._uri}: {_short(error)}") from error

    @cached_property
    def _client(self) -> Any:
        os.environ.update(
            MLFLOW_HTTP_REQUEST_TIMEOUT=str(REQUEST_SECONDS),
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="1",
            MLFLOW_DISABLE_TELEMETRY="true",
            GIT_PYTHON_REFRESH="quiet",
        )
        if self._ca_file is not None:
            os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(self._ca_file)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def _connect(self) -> Any:
        if self._login is not None:
            # MLflow reads its credential from the environment only, at every request.
            os.environ["MLFLOW_TRACKING_USERNAME"] = self._login.username.read_text().strip()
            os.environ["MLFLOW_TRACKING_PASSWORD"] = self._login.password.read_text().strip()
        return self._client

    def _changed(self, record: JobRecord | ReleaseRecord, known: bool, recorded: bool) -> tuple[str, ...]:
        client = self._connect()
        if isinstance(record, ReleaseRecord):
            return tuple(sorted(changed_release(client, record, known=known, recorded=recorded)))
        return tuple(sorted(changed_job(client, record, known=known, recorded=recorded)))

    # The ledger

    def _record_checkpoint(self, size: int, text: str) -> None:
        client = self._connect()
        experiment = own_experiment(client, LEDGER_EXPERIMENT)
        client.set_experiment_tag(experiment.id, CHECKPOINT_SIZE_TAG, str(size))
        client.set_experiment_tag(experiment.id, CHECKPOINT_TAG, text)

    def _read_checkpoint(self) -> str | None:
        client = self._connect()
        found = find_experiment(client, LEDGER_EXPERIMENT)
        text = client.get_experiment(found.id).tags.get(CHECKPOINT_TAG) if found is not None else None
        return None if text is None else str(text)


def _short(error: Exception) -> str:
    """Return the cause in one line that is the same at every try: no addresses of Python objects."""
    text = " ".join(re.sub(r"<[^<>]*>", "", str(error)).split())
    return f"{type(error).__name__}: {text}"[:MAX_REASON]
