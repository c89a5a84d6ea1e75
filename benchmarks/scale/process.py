"""An operator that runs as a process on an API server without nodes: what the two benchmarks of this folder share."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.support.control_plane import ControlPlane, Member
from tests.support.operator_settings import operator_environment
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
MEMBERS = (Member("admin", "admin", ("system:masters",)), Member("operator", "operator", ("system:masters",)))


@dataclass
class Process:
    """A running program with health endpoints."""

    popen: subprocess.Popen[bytes]
    url: str
    log: Path

    def memory(self, name: str) -> float:
        """Return a value of the process's memory in MiB: `VmRSS` now, `VmHWM` at most so far."""
        text = Path(f"/proc/{self.popen.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", text)
        return int(found[1]) / 1024 if found else 0.0

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def metric(self, name: str) -> float:
        """Return the sum of a metric of the operator over its labels."""
        text = _get(f"{self.url}/metrics")
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@contextmanager
def running_operator(
    plane: ControlPlane, namespaces: Sequence[str], checkout: Path = ROOT, further: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run the operator of a checkout for these namespaces; ``further`` are settings by name without the prefix."""
    port = free_port()
    governed = [{"name": name, "policy": "policy"} for name in namespaces]
    settings = {
        "SYSTEM_NAMESPACE": "default", "GOVERNED": json.dumps(governed), "TRAINER_IMAGE": "none", "OPERATOR_IMAGE": "none",
        "REGISTRY_HOST": "127.0.0.1:1", "REGISTRY_PLAIN_HTTP": "true", "KUBECONFIG": plane.kubeconfig("operator"),
        "HTTP_PORT": str(port), "LOG_LEVEL": "ERROR", "POWERS_SECONDS": "0",
        # A busy machine must not end the run.
        "LEASE_DURATION_SECONDS": "120", "LEASE_RENEW_DEADLINE_SECONDS": "90",
        **(further or {}),
    }  # fmt: skip
    environment = operator_environment(settings)
    environment["PYTHONPATH"] = f"{checkout}/operator:{checkout}/trainer-image"
    path = plane.folder / "operator.log"
    with path.open("wb") as log:
        popen = subprocess.Popen(
            [sys.executable, "-m", "tunegate", "operator"], env=environment, stdout=log, stderr=log
        )
    try:
        yield Process(popen, f"http://127.0.0.1:{port}", path)
    finally:
        popen.terminate()
        try:
            popen.wait(timeout=60)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def until_ready(process: Process, answer: str = "leading") -> None:
    """Wait until `/readyz` gives this answer; the operator's says that it leads and has listed everything once."""
    while _ready(process) != answer:
        if process.popen.poll() is not None:
            raise RuntimeError(f"the program ended: {process.log.read_text()[-2000:]}")
        time.sleep(1)


def until_quiet(process: Process, waiting: int = 0) -> None:
    """Wait until it does nothing but look at what waits, again and again: five looks at it, three seconds apart.

    ``waiting``: objects that wait for something; all of them may be looked at between two looks.
    """
    until_ready(process)
    before, spent, calm = process.metric("tunegate_reconcile_total{"), process.cpu_seconds(), 0
    while calm < 5:
        time.sleep(3)
        done, used = process.metric("tunegate_reconcile_total{"), process.cpu_seconds()
        calm = calm + 1 if done - before < 50 + waiting and used - spent < 0.75 + 0.01 * waiting else 0
        before, spent = done, used


def _ready(process: Process) -> str:
    try:
        return _get(f"{process.url}/readyz").strip()
    except OSError:
        return ""


def _get(url: str) -> str:
    # Not httpx: making ready for TLS takes longer than the operator needs for its answer.
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - a server of this machine.
        return str(answer.read().decode())
