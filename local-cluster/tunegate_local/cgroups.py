"""The control groups that the kubelet makes for pods: whose processes they hold, and their removal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PODS = "kubepods"
SECONDS = 10.0


def _tops() -> list[Path]:
    """The pods' group in version 2's one hierarchy, or in each of version 1's."""
    return [top for top in (ROOT / PODS, *ROOT.glob(f"*/{PODS}")) if top.is_dir()]


def members() -> set[int]:
    """Pids of all processes in pods."""
    found: set[int] = set()
    for top in _tops():
        for file in top.rglob("cgroup.procs"):
            try:
                found.update(int(pid) for pid in file.read_text().split())
            except OSError:
                continue  # the group went away meanwhile, or is threaded
    return found - {0}


def empty() -> None:
    """End what still runs in pods after the container runtime was asked to."""
    deadline = time.monotonic() + SECONDS
    while (left := members()) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)


def remove() -> None:
    for top in _tops():
        for directory in sorted((d for d in top.rglob("*") if d.is_dir()), key=lambda d: len(d.parts), reverse=True):
            _remove(directory)
        _remove(top)


def _remove(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return  # busy: `check-clean` lists it


def leftovers() -> list[str]:
    return [f"control group {top}" for top in _tops()]
