"""The README's first command, start to end, while faults strike and the namespace's admin tries everything that the API offers.

Faults may cost time and nothing else; of the admin's tries none is let through, on any object that the operator makes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.faults import LAST_CHECKPOINT, STAGES, SYSTEM, FaultInjector
from tests.e2e.hostile import KINDS, HostileAdmin, Mallory
from tests.e2e.images import twin
from tests.support.programs import CACHE, program

CHECKOUT = Path(__file__).resolve().parents[2]
USERS = Path(os.environ.get("TUNEGATE_STATE", "/var/lib/tunegate-local")) / "users"
ADMIN = USERS / "platform-admin.kubeconfig"

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(3600)]


def upgrade_operator() -> None:
    """Upgrade the chart to an operator image of another digest, as a platform team would."""
    image = twin(json.loads((CACHE / "images.json").read_text())["operator"])
    command = [program("helm"), "--kubeconfig", str(ADMIN), "upgrade", "tunegate", "charts/tunegate"]
    command += ["-n", SYSTEM, "--reuse-values", "--set", f"images.operator={image}"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"helm upgrade failed: {done.stderr}")


def stage_of(job: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(stage for stage in job["status"]["stages"] if stage["name"] == name)
    return found


@pytest.mark.attack(51, 52, 53, 59, 61, 69)
def test_the_whole_way_survives_kills_an_upgrade_and_a_hostile_namespace_admin() -> None:
    report = CHECKOUT / "demo-report.json"
    report.unlink(missing_ok=True)
    injector = FaultInjector(Path(program("kubectl")), ADMIN, upgrade_operator)
    injector.remember_old_jobs()
    mallory = Mallory()
    hostile = HostileAdmin(mallory)
    injector.start()
    hostile.start()
    try:
        environment = {**os.environ, "PYTHONPATH": "operator:trainer-image:local-cluster:demo", "CLUSTER": "local"}
        command = [sys.executable, "-m", "tunegate_demo", "--quick", "--timed-as", "demo under faults"]
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False)
    finally:
        injector.stop()
        hostile.stop()
        mallory.close()
    assert done.returncode == 0, "the demo failed; its own words are above"

    struck = {f"operator killed while {stage}" for stage in STAGES}
    assert set(injector.done) == struck | {"operator upgraded", "trainer evicted", "trainer killed"}
    train = stage_of(injector.job, "Train")
    assert (train["attempt"], train["disruptions"], train["errors"]) == (3, 2, 0)
    resumed = re.search(r"resumed from step (\d+)", train["message"])
    assert resumed, train["message"]
    assert int(resumed[1]) >= LAST_CHECKPOINT
    for name in ("Validate", "Baseline", "Seal", "Evaluate"):
        assert (stage_of(injector.job, name)["attempt"], stage_of(injector.job, name)["state"]) == (1, "Done")

    shown = json.loads(report.read_text())
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
    assert shown["egress"] == {"refusedPackets": 0, "names": []}, "a pod tried to reach beyond the cluster"

    assert [f"{one.what}: {one.made}" for one in hostile.admitted] == []
    assert {one.resource for one in hostile.seen} == set(KINDS)
    by_rule = [one for one in hostile.tried if one.code == 403 and "ValidatingAdmissionPolicy" in one.message]
    assert {one.made.resource for one in by_rule} == set(KINDS)
    print(f"{len(hostile.tried)} tries on {len(hostile.seen)} objects, {len(by_rule)} refused by an admission rule")
