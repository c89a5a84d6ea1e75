"""What an operator costs beside much history: memory, CPU and requests at rest, and how long an approval takes to be recorded.

A real API server is filled with ended jobs, revoked releases and approvals of them; then the operator runs as a process. There
is no node, no registry and no MLflow, so that nothing but history and the watch streams is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.scale.process import (
    MEMBERS,
    ROOT,
    Process,
    running_operator,
    until_quiet,
)

from tests.support import builders, past
from tests.support.control_plane import ControlPlane, install_definitions, kubectl, running_control_plane
from tunegate.api.markers import API_VERSION
from tunegate.kube.client import KubeClient
from tunegate.ledger.chain import SUBJECT_LABEL

NAMESPACES, JOBS, RELEASES, APPROVALS = 20, 5000, 1500, 4500
OPEN = 5
"""Releases per namespace that wait for their job."""
REST_SECONDS = 300
"""As long as the chart lets pass between two listings, so that one of them is in it."""
PATIENCE_SECONDS = 300
ASKED = 10
"""Approvals that are timed, one after the other."""


def main() -> int:
    """Fill, run and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size (5,000 jobs)")
    parser.add_argument("--operator", type=Path, default=ROOT, help="checkout whose operator runs")
    parser.add_argument("--resync", type=int, default=300, help="seconds between two listings; 300 as in the chart")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_control_plane(Path(folder), MEMBERS) as plane:
        install_definitions(plane)
        sizes = [max(1, round(size * options.scale)) for size in (NAMESPACES, JOBS, RELEASES, APPROVALS)]
        asyncio.run(_fill(plane, *sizes))
        began = time.monotonic()
        namespaces = [f"team-{number}" for number in range(sizes[0])]
        settings = {"RESYNC_SECONDS": str(options.resync)}
        with running_operator(plane, namespaces, options.operator, settings) as process:
            until_quiet(process, OPEN * sizes[0])
            rows = {
                "objects": "{} namespaces, {} ended jobs, {} revoked releases, {} approvals".format(*sizes),
                "from start to rest, s": f"{time.monotonic() - began:.1f}",
                "CPU from start to rest, s": f"{process.cpu_seconds():.1f}",
                **_rest(process, kubectl(plane)),
                f"approval to record, median and longest of {ASKED}, s": asyncio.run(_time_approvals(plane)),
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


def _rest(process: Process, command: list[str]) -> dict[str, str]:
    cpu, requests, done = process.cpu_seconds(), _requests(command), process.metric("tunegate_reconcile_total{")
    time.sleep(REST_SECONDS)
    used = process.cpu_seconds() - cpu
    asked, reconciled = _requests(command) - requests, process.metric("tunegate_reconcile_total{") - done
    return {
        f"CPU in {REST_SECONDS} s of rest, s": f"{used:.2f}",
        f"requests in {REST_SECONDS} s of rest": f"{asked:.0f}",
        f"reconciles in {REST_SECONDS} s of rest": f"{reconciled:.0f}",
    }


def _requests(command: list[str]) -> float:
    """Return how many requests about our kinds the API server has answered, watches aside."""
    text = subprocess.run([*command, "get", "--raw", "/metrics"], check=True, capture_output=True, text=True).stdout
    counted = (
        line
        for line in text.splitlines()
        if line.startswith("apiserver_request_total{") and 'group="tunegate.io"' in line and 'verb="WATCH"' not in line
    )
    return sum(float(line.rpartition(" ")[2]) for line in counted)


async def _time_approvals(plane: ControlPlane) -> str:
    """Return median and longest of the seconds between making an approval and its record in the ledger."""
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
        return f"{statistics.median(times):.2f}, {max(times):.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
