"""The README's first command, start to end, while faults strike: they may cost time and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.faults import FaultInjector

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache" / "tunegate")))
USERS = Path(os.environ.get("TUNEGATE_STATE", "/var/lib/tunegate-local")) / "users"

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(3600)]


def test_the_whole_way_survives_kills_and_ends_with_the_approved_adapter_answering() -> None:
    report = CHECKOUT / "demo-report.json"
    report.unlink(missing_ok=True)
    injector = FaultInjector(CACHE / "bin" / "kubectl", USERS / "platform-admin.kubeconfig")
    injector.remember_old_jobs()
    injector.start()
    try:
        environment = {**os.environ, "PYTHONPATH": "operator:trainer-image:local-cluster:demo", "CLUSTER": "local"}
        done = subprocess.run([sys.executable, "-m", "tunegate_demo"], cwd=CHECKOUT, env=environment, check=False)
    finally:
        injector.stop()
    assert done.returncode == 0, "the demo failed; its own words are above"

    shown = json.loads(report.read_text())

    assert set(injector.done) >= {
        "operator killed while Validating",
        "operator killed while Baselining",
        "operator killed while Training",
        "operator killed while Evaluating",
        "trainer evicted",
        "trainer killed",
    }
    assert shown["gate"]["outcome"] == "Pass"
    tuned = shown["scores"]["tuned"]["exactMatch"]
    for name, scores in shown["scores"].items():
        if name != "tuned":
            assert tuned - scores["exactMatch"] > 0.05, f"tuned does not beat {name} by the margin"
    assert shown["forgedApproval"]["refused"] is True
    assert "approver" in shown["forgedApproval"]["message"]
    assert sorted(shown["approvers"]) == ["cora", "ravi"]
    assert shown["tamper"]["found"] is True
    assert shown["answers"]["base"] != shown["answers"]["tuned"]
    assert json.loads(shown["answers"]["tuned"]).keys() == {"holder", "years"}
    assert all(digest.startswith("sha256:") for digest in shown["digests"].values())
    assert shown["mlflowRun"]
