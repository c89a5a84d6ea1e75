"""How long a revoke takes until its route is closed, with each fault active: on an API server and etcd of its own.

Each try has a new operator process beside the releases that wait, and somebody revokes what is served at a
seeded moment of its first seconds, when it knows nothing and everything it asks for hangs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.object_store import secret
from tests.support.silent_server import HEADERS_ONLY, silent_server
from tests.support.stopped_site import StoppedSite
from tunegate.kube.client import KubeClient, ObjectRef

ROOT = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:9"
FAULT_SECONDS = 8.0
"""At most so long after the operator leads somebody revokes."""
FAULTS = ("none", "registry never answers", "folder of the anchors hangs", "bucket answers a byte at a time")
SEED = 16
LIMIT_SECONDS = 600.0


@contextmanager
def fault(name: str, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield registry and settings of an operator for which something outside hangs."""
    if name == "registry never answers":
        with silent_server() as server:
            yield server.host, {}
    elif name == "bucket answers a byte at a time":
        with silent_server(HEADERS_ONLY, trickle=0.5) as server:
            for key, value in secret(f"http://{server.host}").items():
                (folder / key).write_text(value)
            yield NOWHERE, {"ANCHOR_BUCKET": "anchors", "ANCHOR_STORE": str(folder)}
    elif name == "folder of the anchors hangs":
        pipe = folder / "checkpoint-0000000001-00000000.json"
        os.mkfifo(pipe)
        held = os.open(pipe, os.O_RDWR)
        yield NOWHERE, {"ANCHOR_FOLDER": str(folder)}
        os.close(held)
    else:
        yield NOWHERE, {}


async def measure(plane: ControlPlane, name: str, releases: int, tries: int) -> list[float]:
    """Return the seconds from each Revoke to the closed route."""
    moments = random.Random(SEED)  # noqa: S311 - no secret
    kubeconfig = plane.kubeconfig("admin")
    seconds = []
    async with await KubeClient.connect(kubeconfig) as kube:
        site = StoppedSite(kube, kubeconfig, f"t-{secrets.token_hex(3)}")
        await site.prepare(releases)
        for number in range(tries):
            await site.serve(f"live-{number}")
            await site.decide("Approve", "earlier")
            # The last operator was killed: its Lease would keep the next one waiting until it runs out.
            await kube.delete(ObjectRef("coordination.k8s.io/v1", "Lease", "tunegate-operator", site.system))
            seconds.append(await _once(site, name, moments.uniform(0, FAULT_SECONDS)))
    return seconds


async def _once(site: StoppedSite, name: str, wait: float) -> float:
    with (
        tempfile.TemporaryDirectory() as place,
        tempfile.TemporaryDirectory() as log,
        fault(name, Path(place)) as (registry, settings),
    ):
        async with site.operator(Path(log), registry, **settings):
            await site.until_leading(LIMIT_SECONDS)
            await asyncio.sleep(wait)
            began = time.monotonic()
            await site.decide("Revoke", "stop")
            await site.until_closed(LIMIT_SECONDS)
            return time.monotonic() - began


def main() -> None:
    """Print a row for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument(
        "--releases", type=int, default=300, help="so many wait for their approvals beside the one that is served"
    )
    options = parser.parse_args()
    print("| fault | tries | median, s | p99, s | longest, s |\n|---|---|---|---|---|", flush=True)
    for name in FAULTS:
        with tempfile.TemporaryDirectory() as folder, _plane(Path(folder)) as plane:
            seconds = sorted(asyncio.run(measure(plane, name, options.releases, options.tries)))
        p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
        figures = f"{statistics.median(seconds):.2f} | {p99:.2f} | {seconds[-1]:.2f}"
        print(f"| {name} | {len(seconds)} | {figures} |", flush=True)


@contextmanager
def _plane(folder: Path) -> Iterator[ControlPlane]:
    members = (Member("admin", "tunegate-admin", ("system:masters",)),)
    with running_control_plane(folder, members) as plane:
        install_definitions(plane)
        yield plane


if __name__ == "__main__":
    main()
