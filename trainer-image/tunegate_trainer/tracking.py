"""MLflow from a stage: a window to look through, never a condition. What can't be sent in time is dropped and logged.

A daemon thread owns the client; the stage only puts work into a bounded queue, so that a slow or dead server costs
nothing but its own lines. The operator writes the same facts later from the result documents.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunegate.api.stages import JobIdentity, TrackingTarget

log = logging.getLogger(__name__)

UID_TAG = "tunegate.jobUid"
QUEUE_LENGTH = 2000
CLOSING_SECONDS = 10.0
REQUEST_SECONDS = 10
_STOP: dict[str, Any] = {}


class Tracker:
    """Sends parameters, metrics and tags of one job's run. Every method returns at once and never raises."""

    def __init__(self, target: TrackingTarget | None, job: JobIdentity, auth_dir: Path, ca_file: Path) -> None:
        """Without ``target`` everything is dropped silently. ``auth_dir`` holds `username` and `password`."""
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue(QUEUE_LENGTH)
        self._thread: threading.Thread | None = None
        self._dropped = 0
        if target is None:
            return
        _set_environment(auth_dir, ca_file)
        arguments = (target, job)
        self._thread = threading.Thread(target=self._work, args=arguments, name="tracking", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, object]) -> None:
        """Record settings; MLflow keeps the first value of each name."""
        self._put({"params": {key: str(value)[:500] for key, value in values.items()}})

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record numbers at a step."""
        self._put({"metrics": dict(values), "step": step, "time": int(time.time() * 1000)})

    def tags(self, values: Mapping[str, str]) -> None:
        """Record texts that may change later."""
        self._put({"tags": {key: value[:500] for key, value in values.items()}})

    def close(self) -> None:
        """Give what is queued at most ``CLOSING_SECONDS`` to leave."""
        if self._thread is not None:
            self._put(_STOP)
            self._thread.join(CLOSING_SECONDS)
            self._thread = None
        if self._dropped:
            log.warning("MLflow was too slow: records dropped", extra={"dropped": self._dropped})

    def _put(self, item: dict[str, Any]) -> None:
        if self._thread is None:
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._dropped += 1

    def _work(self, target: TrackingTarget, job: JobIdentity) -> None:
        try:
            client, run_id = _open_run(target, job)
        except Exception as error:
            log.warning("MLflow is not available: this stage is not shown there", extra={"cause": type(error).__name__})
            self._thread = None
            return
        while (item := self._queue.get()) is not _STOP:
            try:
                _send(client, run_id, item)
            except Exception as error:
                self._dropped += 1
                log.debug("record lost", extra={"cause": type(error).__name__})


def _set_environment(auth_dir: Path, ca_file: Path) -> None:
    """MLflow reads its credential, trust and time limits from the environment only."""
    for name in ("username", "password"):
        if (auth_dir / name).exists():
            os.environ[f"MLFLOW_TRACKING_{name.upper()}"] = (auth_dir / name).read_text().strip()
    if ca_file.exists():
        os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(ca_file)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def _open_run(target: TrackingTarget, job: JobIdentity) -> tuple[Any, str]:
    """Return a client and the job's run: named, found by tag, or new.

    The experiment is the operator's: a stage never makes one, since it would own it.
    """
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=target.uri)
    if target.run_id:
        return client, target.run_id
    experiment = client.get_experiment_by_name(target.experiment)
    if experiment is None:
        raise LookupError(f"no experiment {target.experiment}")
    experiment_id = experiment.experiment_id
    found = client.search_runs([experiment_id], filter_string=f"tags.`{UID_TAG}` = '{job.uid}'", max_results=1)
    if found:
        return client, str(found[0].info.run_id)
    tags = {UID_TAG: job.uid, "tunegate.job": f"{job.namespace}/{job.name}"}
    return client, str(client.create_run(experiment_id, run_name=job.name, tags=tags).info.run_id)


def _send(client: Any, run_id: str, item: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[Metric(key, value, item["time"], item["step"]) for key, value in item.get("metrics", {}).items()],
        params=[Param(key, value) for key, value in item.get("params", {}).items()],
        tags=[RunTag(key, value) for key, value in item.get("tags", {}).items()],
    )
