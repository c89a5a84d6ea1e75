"""How long a revoke takes until its route is closed, with each fault active: on an API server and etcd of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.control_plane import ControlPlane, Member, running_control_plane
from tests.support.object_store import secret
from tests.support.programs import program
from tests.support.silent_server import HEADERS_ONLY, silent_server
from tests.support.stopped_site import StoppedSite
from tunegate.kube.client import KubeClient

ROOT = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:9"
FAULT_SECONDS = 5.0
"""How long the operator runs into the fault before somebody revokes."""
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


async def measure(plane: ControlPlane, name: str, releases: int) -> float:
    """Return the seconds from the Revoke to the closed route."""
    kubeconfig = plane.kubeconfig("admin")
    with (
        tempfile.TemporaryDirectory() as place,
        tempfile.TemporaryDirectory() as log,
        fault(name, Path(place)) as given,
    ):
        async with await KubeClient.connect(kubeconfig) as kube:
            site = StoppedSite(kube, kubeconfig, f"t-{secrets.token_hex(3)}")
            await site.prepare(releases)
            await site.decide("Approve", "earlier")
            registry, settings = given
            async with site.operator(Path(log), registry, **settings):
                await site.until_leading(LIMIT_SECONDS)
                await asyncio.sleep(FAULT_SECONDS)
                began = time.monotonic()
                await site.decide("Revoke", "stop")
                await site.until_closed(LIMIT_SECONDS)
                return time.monotonic() - began


def main() -> None:
    """Print a row for each fault."""
    with tempfile.TemporaryDirectory() as folder:
        members = (Member("admin", "tunegate-admin", ("system:masters",)),)
        with running_control_plane(Path(folder), members) as plane:
            kubectl = [program("kubectl"), "--kubeconfig", plane.kubeconfig("admin")]
            subprocess.run([*kubectl, "apply", "--server-side", "-f", ROOT / "crds"], check=True, capture_output=True)
            ready = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=180s"]
            subprocess.run([*kubectl, *ready], check=True, capture_output=True)
            print("| fault | releases that wait | seconds from revoke to closed route |\n|---|---|---|", flush=True)
            for name, releases in (
                ("none", 0),
                ("registry never answers", 0),
                ("registry never answers", 300),
                ("folder of the anchors hangs", 0),
                ("bucket answers a byte at a time", 0),
            ):
                print(f"| {name} | {releases} | {asyncio.run(measure(plane, name, releases)):.1f} |", flush=True)


if __name__ == "__main__":
    main()
