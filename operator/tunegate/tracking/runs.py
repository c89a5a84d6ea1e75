"""Jobs in MLflow: one run for each, and what others did to it.

The run of a job is the one that the job's status names. A run that only says that it is the job's, by its tag, is
somebody else's, whatever it holds: a parameter keeps its first value forever, so joining it would show theirs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tunegate.tracking.experiments import find_experiment, own_experiment, taken
from tunegate.tracking.records import (
    FINGERPRINT_TAG,
    GONE,
    PHASE_TAG,
    UID_TAG,
    InputData,
    JobRecord,
    MetricPoint,
    Written,
    experiment_name,
    shown,
)

T = TypeVar("T")
BATCH = 1000
"""MLflow's limits: 1000 entries in a batch, of which 100 are parameters or tags."""
SMALL_BATCH = 100
DELETED = "Deleted"
"""What the phase of a run says whose job is gone."""
PARAM_LENGTH = 6000
DIGEST_LENGTH = 36


def write_job(client: Any, record: JobRecord) -> Written:
    """Make the run what the record says, and take runs away that only claim to be the job's."""
    experiment = own_experiment(client, experiment_name(record.namespace))
    run = _own(client, record)
    for other in _claims(client, experiment.id, record):
        client.delete_run(str(other.info.run_id))
    if run is None:
        run = client.create_run(
            experiment.id, start_time=record.start_ms, run_name=record.name, tags={UID_TAG: record.uid}
        )
    written = Written(str(run.info.run_id), experiment.name)
    found = run.data.tags
    if found.get(FINGERPRINT_TAG) != record.fingerprint or not _tags(record).items() <= found.items():
        _write(client, run, record)
    return written


def changed_job(client: Any, record: JobRecord, *, known: bool, recorded: bool) -> set[str]:
    """Return what is not as it was written, see ``tunegate.tracking.mlflow.Tracking.changed``."""
    name = experiment_name(record.namespace)
    said = {f"name {name}"} if not recorded and taken(client, name) else set()
    experiment = find_experiment(client, name)
    if experiment is not None and _claims(client, experiment.id, record):
        said.add("run")
    run = _own(client, record)
    if run is None:
        return said | ({GONE} if recorded else set())
    found = run.data.tags
    if not known and found.get(FINGERPRINT_TAG) != record.fingerprint:
        return said
    wanted = shown({**_tags(record), FINGERPRINT_TAG: record.fingerprint})
    return said | {key for key, value in wanted.items() if found.get(key) != value}


def running_runs(client: Any, namespace: str) -> dict[str, str]:
    """Return the runs of a namespace that MLflow shows as running, with the job's uid of each."""
    experiment = find_experiment(client, experiment_name(namespace))
    if experiment is None:
        return {}
    found = client.search_runs([experiment.id], filter_string="attributes.status = 'RUNNING'", max_results=BATCH)
    return {str(run.info.run_id): str(run.data.tags[UID_TAG]) for run in found if UID_TAG in run.data.tags}


def end_runs(client: Any, runs: Sequence[str]) -> None:
    """Show runs as killed: their jobs were deleted before they ended."""
    for run_id in runs:
        client.set_tag(run_id, PHASE_TAG, DELETED)
        client.set_terminated(run_id, status="KILLED")


def write_points(client: Any, run_id: str, points: Sequence[MetricPoint]) -> None:
    """Add numbers to a run."""
    from mlflow.entities import Metric

    for part in _pieces([Metric(p.name, p.value, p.time_ms, p.step) for p in points], BATCH):
        client.log_batch(run_id, metrics=part)


def _own(client: Any, record: JobRecord) -> Any:
    """Return the run that the job's status names; None where there is none, or it was deleted."""
    from mlflow.exceptions import MlflowException

    if record.known_as is None:
        return None
    try:
        run = client.get_run(record.known_as)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None
    return run if run.info.lifecycle_stage == "active" else None


def _claims(client: Any, experiment: str, record: JobRecord) -> list[Any]:
    found = client.search_runs([experiment], filter_string=f"tags.`{UID_TAG}` = '{record.uid}'", max_results=100)
    return [one for one in found if str(one.info.run_id) != record.known_as]


def _tags(record: JobRecord) -> dict[str, str]:
    return shown({**record.tags, UID_TAG: record.uid})


def _write(client: Any, run: Any, record: JobRecord) -> None:
    run_id = str(run.info.run_id)
    # A parameter keeps its first value forever: only those that are missing are sent.
    params = {key: value for key, value in record.params.items() if key not in run.data.params}
    _write_texts(client, run_id, params, _tags(record))
    write_points(client, run_id, record.metrics)
    _write_inputs(client, run_id, record.inputs)
    for name, text in record.reports.items():
        _upload(client, run_id, name, text)
    if record.end_ms is not None:
        client.set_terminated(run_id, status=record.state, end_time=record.end_ms)
    # Last: the tag says that all of the above is there.
    client.set_tag(run_id, FINGERPRINT_TAG, record.fingerprint)


def _write_texts(client: Any, run_id: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    from mlflow.entities import Param, RunTag

    for part in _pieces([Param(key, value[:PARAM_LENGTH]) for key, value in params.items()], SMALL_BATCH):
        client.log_batch(run_id, params=part)
    for some in _pieces([RunTag(key, value) for key, value in tags.items()], SMALL_BATCH):
        client.log_batch(run_id, tags=some)


def _write_inputs(client: Any, run_id: str, inputs: Sequence[InputData]) -> None:
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
