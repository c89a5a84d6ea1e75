"""The demo while the admin of its namespace deletes, replaces, relabels and floods at random, for its whole time.

It ends in one of two ways: the honest bytes answer, or it stopped with a reason. `make chaos SEED=7` repeats a run; it takes as
long as the demo, or longer, and is no part of `make test`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.faults import TEAM
from tests.e2e.hostile import EVIL, Adversary, HostileAdmin, Made, Mallory
from tests.e2e.test_demo_under_faults import ADMIN, CHECKOUT, USERS
from tests.support.programs import program

pytestmark = [pytest.mark.chaos, pytest.mark.cluster, pytest.mark.timeout(5400)]
Json = dict[str, Any]
SEED = int(os.environ.get("SEED", "1"))
PAUSE_SECONDS = (1.0, 5.0)
POD_PAUSE_SECONDS = 90.0
"""Between two pods that are taken away: an attempt has to get somewhere, or the job ends for its disruptions."""
CORE = f"/api/v1/namespaces/{TEAM}"


@dataclass(eq=False)
class Chaos(Adversary):
    """Acts at random, by a seed, with all that Kubernetes' `admin` may do in the namespace."""

    seen: set[Made] = field(default_factory=set)
    """What the operator made so far, kept by ``HostileAdmin``."""
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._random = random.Random(SEED)  # noqa: S311 - chance, not a secret
        self._pod_taken = time.monotonic()

    def act(self) -> None:
        """Act until told to stop."""
        acts = (
            self._take_a_pod, self._replace, self._relabel, self._squat, self._open_the_network, self._flood, self._trust,
        )  # fmt: skip
        while not self._stop_asked.wait(self._random.uniform(*PAUSE_SECONDS)):
            act = self._random.choice(acts)
            self.done[f"{act.__name__.strip('_')}: {act()}"] += 1

    def _any(self) -> Made | None:
        known = sorted(self.seen, key=lambda one: one.path)
        return self._random.choice(known) if known else None

    def _take_a_pod(self) -> int:
        """Delete or evict a pod: the one thing that is allowed."""
        if time.monotonic() - self._pod_taken < POD_PAUSE_SECONDS:
            return 0
        pods = (self.mallory.read(f"{CORE}/pods") or {}).get("items", [])
        names = sorted(pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running")
        if not names:
            return 0
        self._pod_taken, name = time.monotonic(), self._random.choice(names)
        if self._random.random() < 0.5:
            return self.mallory.send(
                "DELETE", f"{CORE}/pods/{name}", {"gracePeriodSeconds": self._random.choice((0, 30))}
            )[0]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": TEAM}}
        return self.mallory.send("POST", f"{CORE}/pods/{name}/eviction", eviction)[0]

    def _replace(self) -> int:
        made = self._any()
        live = self.mallory.read(made.path) if made else None
        if made is None or live is None:
            return 0
        code, _ = self.mallory.send("DELETE", made.path)
        copy = {**live, "metadata": {"name": made.name, "namespace": TEAM}}
        return max(code, self.mallory.send("POST", made.collection, copy)[0])

    def _relabel(self) -> int:
        made = self._any()
        change = {"metadata": {"labels": {"tunegate.io/job": "another", "app.kubernetes.io/managed-by": None}}}
        return self.mallory.send("PATCH", made.path, change)[0] if made else 0

    def _squat(self) -> int:
        """Take a name of the reserved form, or one that a person may have."""
        name = self._random.choice(("tunegate-", "holders-")) + secrets.token_hex(3)
        data = {"data": {"stage.json": "{}"}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": TEAM}, **data}
        return self.mallory.send("POST", f"{CORE}/configmaps", body)[0]

    def _open_the_network(self) -> int:
        spec = {"podSelector": {}, "policyTypes": ["Egress", "Ingress"], "egress": [{}], "ingress": [{}]}
        metadata = {"name": f"open-{secrets.token_hex(3)}", "namespace": TEAM}
        body = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
        return self.mallory.send("POST", f"/apis/networking.k8s.io/v1/namespaces/{TEAM}/networkpolicies", body)[0]

    def _flood(self) -> int:
        service = {"type": "ExternalName", "externalName": EVIL}
        metadata = {"name": f"licenses{secrets.token_hex(1)}", "namespace": TEAM}
        body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}
        return self.mallory.send("POST", f"{CORE}/services", body)[0]

    def _trust(self) -> int:
        """Change whom the gateways take for the API server."""
        return self.mallory.send("PATCH", f"{CORE}/configmaps/kube-root-ca.crt", {"data": {"ca.crt": "mallory"}})[0]


def administrator(*words: str) -> Json:
    """Read something as the platform's administrator."""
    command = [
        program("kubectl"),
        f"--kubeconfig={USERS / f'{ADMIN.stem}.kubeconfig'}",
        "-n",
        TEAM,
        "get",
        *words,
        "-o",
        "json",
    ]
    document: Json = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return document


def test_a_hostile_admin_gets_no_other_bytes_served_trained_or_judged() -> None:
    mallory = Mallory()
    hostile = HostileAdmin(mallory)
    chaos = Chaos(Mallory(), seen=hostile.seen)
    hostile.start()
    chaos.start()
    report = CHECKOUT / "demo-report.json"
    report.unlink(missing_ok=True)
    try:
        environment = {**os.environ, "PYTHONPATH": "operator:trainer-image:local-cluster:demo", "CLUSTER": "local"}
        command = [sys.executable, "-m", "tunegate_demo", "--quick"]
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    finally:
        chaos.stop()
        hostile.stop()
    print(f"seed {SEED}, exit code {done.returncode}:", json.dumps(chaos.done, indent=1))
    assert [f"{one.what}: {one.made}" for one in hostile.admitted] == []
    assert sum(count for what, count in chaos.done.items() if not what.endswith(": 0")) > 20, (
        "hardly anything was tried"
    )

    job = max(administrator("finetunejobs")["items"], key=lambda one: str(one["metadata"]["creationTimestamp"]))
    honest_rows(job)
    if done.returncode:
        assert "reason  " in done.stdout, done.stdout[-3000:]
        return
    assert json.loads(report.read_text())["gate"]["outcome"] == "Pass"
    release = max(administrator("modelreleases")["items"], key=lambda one: str(one["metadata"]["creationTimestamp"]))
    server = administrator("modelserver", release["status"]["serverRef"]["name"])
    held = {one["servedName"]: one for one in server["status"]["adapters"]}
    assert held[release["status"]["servedName"]]["adapterDigest"] == job["status"]["adapter"]["digest"]


def honest_rows(job: Json) -> None:
    """What was checked, trained on and judged by is what the demo's author put on the claim."""
    status = job.get("status", {})
    if "dataset" in status:
        claim = administrator("pvc", "licenses-data")
        volume = administrator("pv", claim["spec"]["volumeName"])["spec"]["hostPath"]["path"]
        file = hashlib.sha256((Path(volume) / "train.jsonl").read_bytes()).hexdigest()
        assert status["dataset"]["digest"] == f"sha256:{file}"
