"""What an operator costs beside much history: memory, CPU and requests at rest, and how long an approval takes to be recorded.

A real API server is filled with ended jobs, revoked releases and approvals of them; then the operator runs as a process. There
is no node, no registry and no MLflow, so that nothing but history and the watch streams is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support import builders, past
from tests.support.control_plane import ControlPlane, Member, running_control_plane
from tests.support.operator_settings import operator_environment
from tests.support.ports import free_port
from tests.support.programs import program
from tunegate.api.markers import API_VERSION
from tunegate.kube.client import KubeClient
from tunegate.ledger.chain import SUBJECT_LABEL

ROOT = Path(__file__).resolve().parents[2]
NAMESPACES, JOBS, RELEASES, APPROVALS = 20, 5000, 1500, 4500
OPEN = 5
"""Releases per namespace that wait for their job."""
REST_SECONDS = 60
PATIENCE_SECONDS = 300
ASKED = 10
"""Approvals that are timed, one after the other."""
TICKS = os.sysconf("SC_CLK_TCK")
MEMBERS = (Member("admin", "admin", ("system:masters",)), Member("operator", "operator", ("system:masters",)))


@dataclass
class Process:
    """A running operator."""

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
        text = httpx.get(f"{self.url}/metrics", timeout=10).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def main() -> int:
    """Fill, run and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size (5,000 jobs)")
    parser.add_argument("--operator", type=Path, default=ROOT, help="checkout whose operator runs")
    parser.add_argument("--resync", type=int, default=30, help="seconds between two listings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_control_plane(Path(folder), MEMBERS) as plane:
        kubectl = [program("kubectl"), "--kubeconfig", plane.kubeconfig("admin")]
        subprocess.run([*kubectl, "apply", "--server-side", "-f", ROOT / "crds"], check=True, capture_output=True)
        established = [*kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]
        subprocess.run(established, check=True, capture_output=True)
        sizes = [max(1, round(size * options.scale)) for size in (NAMESPACES, JOBS, RELEASES, APPROVALS)]
        asyncio.run(_fill(plane, *sizes))
        began = time.monotonic()
        with _running(plane, sizes[0], options.operator, options.resync) as process:
            _until_quiet(process)
            rows = {
                "objects": "{} namespaces, {} ended jobs, {} revoked releases, {} approvals".format(*sizes),
                "from start to rest, s": f"{time.monotonic() - began:.1f}",
                "CPU from start to rest, s": f"{process.cpu_seconds():.1f}",
                **_rest(process, kubectl),
                "approval to record, median of 10, s": f"{asyncio.run(_time_approvals(plane)):.2f}",
                "memory now and at most, MiB": f"{process.memory('VmRSS'):.0f}, {process.memory('VmHWM'):.0f}",
            }
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    return 0


async def _fill(plane: ControlPlane, namespaces: int, jobs: int, releases: int, approvals: int) -> None:
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
        await kube.create(builders.make_computepool())
        await kube.create(builders.make_approvalpolicy())
        for number in range(namespaces):
            name = f"team-{number}"
            await past.make_namespace(kube, name)
            await kube.create(builders.make_evaluationsuite(namespace=name))
            share = [size // namespaces for size in (jobs, releases, approvals)]
            await past.fill(kube, name, 0, *share)
            await past.make(kube, (builders.make_modelrelease(f"open-{one}", name) for one in range(OPEN)))


@contextmanager
def _running(plane: ControlPlane, namespaces: int, checkout: Path, resync: int) -> Iterator[Process]:
    port = free_port()
    governed = [{"name": f"team-{number}", "policy": "policy"} for number in range(namespaces)]
    settings = {
        "SYSTEM_NAMESPACE": "default", "GOVERNED": json.dumps(governed), "TRAINER_IMAGE": "none", "OPERATOR_IMAGE": "none",
        "REGISTRY_HOST": "127.0.0.1:1", "REGISTRY_PLAIN_HTTP": "true", "KUBECONFIG": plane.kubeconfig("operator"),
        "HTTP_PORT": str(port), "RESYNC_SECONDS": str(resync), "LOG_LEVEL": "ERROR", "POWERS_SECONDS": "0",
        # A busy machine must not end the run.
        "LEASE_DURATION_SECONDS": "120", "LEASE_RENEW_DEADLINE_SECONDS": "90",
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
        popen.wait(timeout=60)


def _until_quiet(process: Process) -> None:
    """Wait until it leads and has done nothing but what it does at each listing: five looks, three seconds apart."""
    before, calm = -1.0, 0
    while calm < 5:
        time.sleep(3)
        if process.popen.poll() is not None:
            raise RuntimeError(f"the operator ended: {process.log.read_text()[-2000:]}")
        try:
            led, done = process.metric("tunegate_leader "), process.metric("tunegate_reconcile_total{")
        except httpx.HTTPError:
            continue
        calm = calm + 1 if led and before >= 0 and done - before < 50 else 0
        before = done


def _rest(process: Process, kubectl: list[str]) -> dict[str, str]:
    cpu, requests, done = process.cpu_seconds(), _requests(kubectl), process.metric("tunegate_reconcile_total{")
    time.sleep(REST_SECONDS)
    used = process.cpu_seconds() - cpu
    asked, reconciled = _requests(kubectl) - requests, process.metric("tunegate_reconcile_total{") - done
    return {
        f"CPU in {REST_SECONDS} s of rest, s": f"{used:.2f}",
        f"requests in {REST_SECONDS} s of rest": f"{asked:.0f}",
        f"reconciles in {REST_SECONDS} s of rest": f"{reconciled:.0f}",
    }


def _requests(kubectl: list[str]) -> float:
    """Return how many requests about our kinds the API server has answered, watches aside."""
    text = subprocess.run([*kubectl, "get", "--raw", "/metrics"], check=True, capture_output=True, text=True).stdout
    counted = (
        line
        for line in text.splitlines()
        if line.startswith("apiserver_request_total{") and 'group="tunegate.io"' in line and 'verb="WATCH"' not in line
    )
    return sum(float(line.rpartition(" ")[2]) for line in counted)


async def _time_approvals(plane: ControlPlane) -> float:
    """Return the median of the seconds between making an approval and its record in the ledger."""
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
        release = (await kube.list(API_VERSION, "ModelRelease", "team-0", fields="metadata.name=open-0"))[0]
        subject = {"kind": "ModelRelease", "name": "open-0", "uid": release["metadata"]["uid"]}
        times = []
        for number in range(ASKED):
            began = time.monotonic()
            await kube.create(builders.make_approval(f"timed-{number}", "team-0", subjectRef=subject))
            labels = {SUBJECT_LABEL: subject["uid"]}
            while len(await kube.list(API_VERSION, "AuditRecord", labels=labels)) <= number:
                if time.monotonic() - began > PATIENCE_SECONDS:
                    raise RuntimeError(f"approval {number} was not recorded within {PATIENCE_SECONDS} s")
                await asyncio.sleep(0.05)
            times.append(time.monotonic() - began)
        return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    raise SystemExit(main())
