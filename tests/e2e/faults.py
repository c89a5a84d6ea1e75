"""Faults from outside while the demo runs: the operator is killed in every stage and upgraded, the trainer evicted and killed."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEAM, SYSTEM = "licenses-team", "tunegate-system"
STAGES = ("Validating", "Baselining", "Training", "Sealing", "Evaluating")
UPGRADE, EVICTION, KILL, LAST_CHECKPOINT = 3, 8, 14, 12
"""Steps of training: before a checkpoint, one or two after the first, and as many after the second (every six steps)."""


@dataclass(eq=False)
class FaultInjector(threading.Thread):
    """Watches the newest job and strikes once per phase; what it did is in ``done``."""

    kubectl: Path
    kubeconfig: Path
    upgrade: Callable[[], None]
    """Upgrades the operator to another image."""
    done: list[str] = field(default_factory=list)
    job: dict[str, Any] = field(default_factory=dict)
    """The job as it was seen last."""
    _stop_asked: threading.Event = field(default_factory=threading.Event)
    _known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._upgrading = threading.Thread(target=self._upgrade, daemon=True)

    def call(self, *arguments: str, document: str | None = None) -> str:
        """Run kubectl as the platform's administrator; an empty answer when it fails."""
        command = [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, input=document, capture_output=True, text=True, check=False).stdout

    def read(self, *arguments: str) -> dict[str, Any]:
        """Return kubectl's JSON answer, or nothing."""
        text = self.call(*arguments, "-o", "json")
        return json.loads(text) if text.strip() else {}

    def remember_old_jobs(self) -> None:
        """Leave jobs of earlier runs alone."""
        self._known = {job["metadata"]["name"] for job in self._jobs()}

    def stop(self) -> None:
        """End the threads."""
        self._stop_asked.set()
        self.join(timeout=60)
        if self._upgrading.ident is not None:
            self._upgrading.join(timeout=120)

    def run(self) -> None:
        """Strike as the job goes on."""
        while not self._stop_asked.wait(2.0):
            for job in self._jobs():
                if job["metadata"]["name"] not in self._known:
                    self.job = job
                    self._strike(job)

    def _jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.read("-n", TEAM, "get", "finetunejobs").get("items", [])
        return found

    def _strike(self, job: dict[str, Any]) -> None:
        status = job.get("status", {})
        phase, step = status.get("phase", ""), (status.get("progress") or {}).get("step", 0)
        if phase in STAGES:
            self._once(f"operator killed while {phase}", self._kill_operator)
        if phase != "Training":
            return
        trained: dict[str, Any] = next(stage for stage in status["stages"] if stage["name"] == "Train")
        if step >= UPGRADE and self._upgrading.ident is None:
            # The chart's hook takes longer than some steps: the next strikes do not wait for it.
            self._upgrading.start()
        if step >= EVICTION:
            self._once("trainer evicted", lambda: self._evict(job))
        if step >= KILL and trained.get("attempt", 1) >= 2:
            self._once("trainer killed", lambda: self._kill_trainer(job))

    def _once(self, name: str, act: Callable[[], None]) -> None:
        if name not in self.done:
            self.done.append(name)
            act()

    def _upgrade(self) -> None:
        self.upgrade()
        self.done.append("operator upgraded")

    def _kill_operator(self) -> None:
        lease = self.read("-n", SYSTEM, "get", "lease", "tunegate-operator")
        # The holder is named after its pod and its process.
        holder = str(lease.get("spec", {}).get("holderIdentity", "")).rpartition("-")[0]
        self.call("-n", SYSTEM, "delete", "pod", holder, "--grace-period=0", "--force", "--wait=false")

    def _trainer_pods(self, job: dict[str, Any]) -> list[str]:
        selector = f"tunegate.io/job={job['metadata']['name']},tunegate.io/stage=Train"
        pods = self.read("-n", TEAM, "get", "pods", "-l", selector).get("items", [])
        return [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"]

    def _evict(self, job: dict[str, Any]) -> None:
        for name in self._trainer_pods(job):
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": TEAM}}
            path = f"/api/v1/namespaces/{TEAM}/pods/{name}/eviction"
            self.call("create", "--raw", path, "-f", "-", document=json.dumps(eviction))

    def _kill_trainer(self, job: dict[str, Any]) -> None:
        for name in self._trainer_pods(job):
            self.call("-n", TEAM, "delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
