"""A stage's numbers in a real MLflow: written by the namespace's own user, one run a job, live while it trains."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tracking.mlflow_process import PASSWORDS, MlflowServer
from tunegate.api.stages import JobIdentity, TrackingTarget
from tunegate_trainer.tracking import Tracker

pytestmark = pytest.mark.timeout(600)

EXPERIMENT = "tunegate/team"
JOB = JobIdentity(namespace="team", name="licenses", uid="7b1c9a52", attempt=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer.prepare(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def auth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The credential as a pod mounts it; what the tracker puts into the environment is taken back at the end."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    for name in ("USERNAME", "PASSWORD", "SERVER_CERT_PATH"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    (tmp_path / "username").write_text("tunegate-stage-team\n")
    (tmp_path / "password").write_text(PASSWORDS["stage-team"] + "\n")
    return tmp_path


def runs_of(server: MlflowServer) -> list[dict[str, Any]]:
    experiment = server.ask("operator", f"experiments/get-by-name?experiment_name={EXPERIMENT}").json()["experiment"]
    body = {
        "experiment_ids": [experiment["experiment_id"]],
        "filter": f"tags.`tunegate.jobUid` = '{JOB.uid}'",
    }
    runs: list[dict[str, Any]] = server.ask("operator", "runs/search", body).json().get("runs", [])
    return runs


def wait_for_metric(server: MlflowServer, name: str) -> str:
    """Return the run once it shows the metric: a loaded machine takes its time to import MLflow."""
    for _ in range(600):
        for run in runs_of(server):
            if name in {entry["key"] for entry in run["data"].get("metrics", [])}:
                return str(run["info"]["run_id"])
        time.sleep(0.2)
    raise AssertionError(f"{name} never arrived")


def test_two_stages_of_a_job_write_one_run_while_they_work(server: MlflowServer, auth: Path) -> None:
    target = TrackingTarget(uri=server.uri, experiment=EXPERIMENT)
    first = Tracker(target, JOB, auth, server.ca_file)
    first.metrics({"validate/rows": 267})
    run_id = wait_for_metric(server, "validate/rows")
    first.close()
    second = Tracker(target, JOB, auth, server.ca_file)
    second.params({"rank": 16})
    second.metrics({"train/loss": 1.5}, step=1)
    assert wait_for_metric(server, "train/loss") == run_id
    second.metrics({"train/loss": 0.5}, step=2)
    second.close()

    runs = runs_of(server)
    assert len(runs) == 1
    metrics = {entry["key"]: entry["value"] for entry in runs[0]["data"]["metrics"]}
    assert metrics == {"validate/rows": 267, "train/loss": 0.5}
    assert {entry["key"]: entry["value"] for entry in runs[0]["data"]["params"]} == {"rank": "16"}


def test_a_server_that_dies_costs_the_stage_no_more_than_its_closing_time(server: MlflowServer, auth: Path) -> None:
    tracker = Tracker(TrackingTarget(uri=server.uri, experiment=EXPERIMENT), JOB, auth, server.ca_file)
    tracker.metrics({"train/loss": 0.4}, step=3)
    server.stop()
    started = time.monotonic()
    for step in range(10_000):
        tracker.metrics({"train/loss": 0.3}, step=step)
    tracker.close()

    assert time.monotonic() - started < 15
