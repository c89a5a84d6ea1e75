"""The MLflow client of the operator: writes records so that writing them again changes nothing.

The library blocks, and takes seconds and 90 MB to import: it is imported at the first call, runs in two threads of its
own, and every call has a time limit. A server that does not answer costs a condition on the object, nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from tunegate.errors import Transient
from tunegate.tracking.records import (
    CHECKPOINT_SIZE_TAG,
    CHECKPOINT_TAG,
    FINGERPRINT_TAG,
    LEDGER_EXPERIMENT,
    UID_TAG,
    InputData,
    JobRecord,
    MetricPoint,
    ReleaseRecord,
    experiment_name,
    shown,
)
from tunegate.tracking.versions import GONE, changed_release, write_release

T = TypeVar("T")
REQUEST_SECONDS = 10
CALL_SECONDS = 120.0
"""Limit of one record, import of the library included."""
BATCH = 1000
"""MLflow's limits: 1000 entries in a batch, of which 100 are parameters or tags."""
SMALL_BATCH = 100
PARAM_LENGTH = 6000
DIGEST_LENGTH = 36
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
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="mlflow")

    def close(self) -> None:
        """Give the threads back without waiting for calls under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def record_job(self, record: JobRecord) -> str:
        """Write a job's run and return its id. Raises ``TrackingUnavailable``."""
        return await self._call(lambda: self._record_job(record))

    async def record_release(self, record: ReleaseRecord) -> str:
        """Write a release's model version and return its number. Raises ``TrackingUnavailable``."""
        return await self._call(lambda: write_release(self._connect(), record))

    async def changed(self, record: JobRecord | ReleaseRecord, *, known: bool, recorded: bool) -> tuple[str, ...]:
        """Return what is not as it was written, sorted: names of tags, `description`, `source`, `stage`, `alias NAME`, or
        `gone` where nothing is left of what was ``recorded``. Raises ``TrackingUnavailable``.

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
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._threads, work), CALL_SECONDS)
        except TimeoutError as error:
            raise TrackingUnavailable(f"MLflow at {self._uri} did not answer within {CALL_SECONDS:.0f} s") from error
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

    # Jobs

    def _record_job(self, record: JobRecord) -> str:
        client = self._connect()
        experiment = _ensure_experiment(client, experiment_name(record.namespace))
        run = _find_run(client, experiment, record.uid) or client.create_run(
            experiment, start_time=record.start_ms, run_name=record.name, tags={UID_TAG: record.uid}
        )
        run_id = str(run.info.run_id)
        found = run.data.tags
        if found.get(FINGERPRINT_TAG) == record.fingerprint and shown(record.tags).items() <= found.items():
            return run_id
        self._write_run(client, run, record)
        return run_id

    def _write_run(self, client: Any, run: Any, record: JobRecord) -> None:
        run_id = str(run.info.run_id)
        # A parameter keeps its first value for ever: only those that are missing are sent.
        params = {key: value for key, value in record.params.items() if key not in run.data.params}
        _log_texts(client, run_id, params, record.tags)
        _log_metrics(client, run_id, record.metrics)
        _log_inputs(client, run_id, record.inputs)
        for name, text in record.reports.items():
            _upload(client, run_id, name, text)
        if record.end_ms is not None:
            client.set_terminated(run_id, status=record.state, end_time=record.end_ms)
        # Last: the tag says that all of the above is there.
        client.set_tag(run_id, FINGERPRINT_TAG, record.fingerprint)

    # Changes by others

    def _changed(self, record: JobRecord | ReleaseRecord, known: bool, recorded: bool) -> tuple[str, ...]:
        client = self._connect()
        if isinstance(record, ReleaseRecord):
            return tuple(sorted(changed_release(client, record, known=known, recorded=recorded)))
        run = _find_run(client, _ensure_experiment(client, experiment_name(record.namespace)), record.uid)
        if run is None:
            return (GONE,) if recorded else ()
        found = run.data.tags
        if not known and found.get(FINGERPRINT_TAG) != record.fingerprint:
            return ()
        wanted = shown({**record.tags, FINGERPRINT_TAG: record.fingerprint})
        return tuple(sorted(key for key, value in wanted.items() if found.get(key) != value))

    # The ledger

    def _record_checkpoint(self, size: int, text: str) -> None:
        client = self._connect()
        experiment = _ensure_experiment(client, LEDGER_EXPERIMENT)
        client.set_experiment_tag(experiment, CHECKPOINT_SIZE_TAG, str(size))
        client.set_experiment_tag(experiment, CHECKPOINT_TAG, text)

    def _read_checkpoint(self) -> str | None:
        found = self._connect().get_experiment_by_name(LEDGER_EXPERIMENT)
        text = found.tags.get(CHECKPOINT_TAG) if found is not None else None
        return None if text is None else str(text)


def _short(error: Exception) -> str:
    """Return the cause in one line that is the same at every try: no addresses of Python objects."""
    text = " ".join(re.sub(r"<[^<>]*>", "", str(error)).split())
    return f"{type(error).__name__}: {text}"[:MAX_REASON]


def _ensure_experiment(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _find_run(client: Any, experiment: str, uid: str) -> Any:
    """Return the oldest run of that job: should a stage and the operator both have made one, both choose the same."""
    found = client.search_runs(
        [experiment],
        filter_string=f"tags.`{UID_TAG}` = '{uid}'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return found[0] if found else None


def _log_texts(client: Any, run_id: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    from mlflow.entities import Param, RunTag

    for part in _pieces([Param(key, value[:PARAM_LENGTH]) for key, value in params.items()], SMALL_BATCH):
        client.log_batch(run_id, params=part)
    for some in _pieces([RunTag(key, value) for key, value in shown(tags).items()], SMALL_BATCH):
        client.log_batch(run_id, tags=some)


def _log_metrics(client: Any, run_id: str, points: Sequence[MetricPoint]) -> None:
    from mlflow.entities import Metric

    for part in _pieces([Metric(p.name, p.value, p.time_ms, p.step) for p in points], BATCH):
        client.log_batch(run_id, metrics=part)


def _log_inputs(client: Any, run_id: str, inputs: Sequence[InputData]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entries = [
        DatasetInput(
            Dataset(
                name=data.name,
                digest=data.digest.removeprefix("sha256:")[:DIGEST_LENGTH],
                source_type="tunegate",
                source=json.dumps({"uri": data.source, "digest": data.digest}),
            ),
            [InputTag("mlflow.data.context", data.context), InputTag("tunegate.digest", data.digest)],
        )
        for data in inputs
    ]
    if entries:
        client.log_inputs(run_id, datasets=entries)


def _upload(client: Any, run_id: str, name: str, text: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tunegate-") as folder:
        file = Path(folder) / name
        file.write_text(text)
        client.log_artifact(run_id, str(file), "reports")


def _pieces(entries: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(entries), size):
        yield list(entries[start : start + size])
