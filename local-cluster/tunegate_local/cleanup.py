"""Stop and wipe: take back exactly what the cluster put on the machine, and list what is left of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tunegate_local import (
    cgroups,
    cluster,
    container_runtime,
    kernel,
    lock,
    mounts,
    network,
    node,
    packet_filter,
    processes,
    settings,
)
from tunegate_local.command import succeeds
from tunegate_local.failure import Failure
from tunegate_local.progress import say, step

# From those that act on others' behalf to those that they need.
STOP_ORDER = (
    "kubelet",
    "volume-provisioner",
    "coredns",
    "kube-proxy",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
)
SHIM = "containerd-shim-runc-v2"
SHIM_SOCKETS = Path("/run/containerd/s")
CONTAINER_LOG_LINKS = Path("/var/log/containers")
PLUGIN_RESULTS = Path("/var/lib/cni/results")
# Directories that components make outside our own and leave behind; removed only when empty.
FOREIGN_DIRECTORIES = (
    SHIM_SOCKETS,
    Path("/run/containerd/runc/k8s.io"),
    Path("/run/containerd/runc"),
    Path("/run/containerd"),
    CONTAINER_LOG_LINKS,
    PLUGIN_RESULTS,
    Path("/var/lib/cni/networks"),
    Path("/var/lib/cni"),
    Path("/var/lib/kubelet/device-plugins"),
    Path("/var/lib/kubelet"),
    Path("/run/containers/networks"),
    Path("/run/containers"),
    Path("/var/lib/containers"),
)


def stop(*, gently: bool = True) -> None:
    """End the cluster and take back what it changed. Not gently: what its components were about to write is lost."""
    with step("stopping the cluster", "10 s"):
        if not gently:
            # Not the container runtime and the registry: what they hold lies in the cache and outlives the cluster.
            processes.kill(STOP_ORDER)
        processes.end("kubelet")
        _end_containers()
        for name in STOP_ORDER:
            processes.end(name)
        processes.end(container_runtime.NAME)
        _end_shims()
        cgroups.empty()
        for name in processes.recorded_names():
            processes.end(name)
        if network.bridge_exists() or packet_filter.leftovers():
            node.remove_service_rules()
        packet_filter.restore()
        mounts.remove_below(settings.STATE)
        network.restore()
        cgroups.remove()
        kernel.restore()
        _remove_traces()
    _require_clean(leftovers())


def wipe(cache: bool) -> None:
    stop(gently=False)
    remove_ours(settings.STATE)
    if cache:
        mounts.remove_below(settings.CACHE)
        remove_ours(settings.CACHE)


def remove_ours(directory: Path) -> None:
    if not directory.exists():
        return
    held_only_by_us = {file.name for file in directory.iterdir()} <= {lock.FILE}
    if not held_only_by_us and not (directory / cluster.MARKER).exists():
        raise Failure("wipe", f"{directory} does not look like ours (no {cluster.MARKER} in it)", "remove it by hand")
    mounted = mounts.below(directory)
    if mounted:
        raise Failure("wipe", f"{mounted[0]} is still mounted", "unmount it, then wipe again")
    with step(f"removing {directory}"):
        shutil.rmtree(directory)


def _end_containers() -> None:
    if processes.running_pid(container_runtime.NAME) is None:
        return
    shown = subprocess.run(container_runtime.ctr("tasks", "list", "-q"), capture_output=True, text=True, check=False)
    # One by one they take a third of a second each, most of it waiting.
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(
            pool.map(
                lambda task: succeeds(container_runtime.ctr("tasks", "delete", "--force", task)), shown.stdout.split()
            )
        )


def _shims() -> list[int]:
    """Shim processes of our own containerd: their command line names our socket."""
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if Path(words[0]).name == SHIM and str(settings.CONTAINERD_SOCKET) in words:
            found.append(int(directory.name))
    return found


def _end_shims() -> None:
    for pid in _shims():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    time.sleep(0.2)


def _remove_traces() -> None:
    shutil.rmtree(network.ADDRESSES, ignore_errors=True)
    for file in PLUGIN_RESULTS.glob("*"):
        # A result names the pod's network namespace, and ours lie below our state directory.
        if f"{settings.STATE}/" in file.read_text():
            file.unlink(missing_ok=True)
    if CONTAINER_LOG_LINKS.is_dir():
        for link in CONTAINER_LOG_LINKS.iterdir():
            if link.is_symlink() and str(link.readlink()).startswith(f"{settings.STATE}/"):
                link.unlink()
    if not processes_of("containerd"):
        for socket in SHIM_SOCKETS.glob("*"):
            socket.unlink(missing_ok=True)
    for directory in FOREIGN_DIRECTORIES:
        try:
            directory.rmdir()
        except OSError:
            continue  # not there, or somebody else's too


def processes_of(program: str) -> list[int]:
    """Pids of processes that run a program of this file name, whoever started them."""
    found = []
    for directory in Path("/proc").iterdir():
        try:
            if directory.name.isdigit() and (directory / "exe").readlink().name == program:
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def _programs_left() -> list[str]:
    """Processes that run a program which we built, and our container shims."""
    found = [f"process {pid} ({SHIM})" for pid in _shims()]
    for directory in Path("/proc").iterdir():
        try:
            program = str((directory / "exe").readlink())
        except OSError:
            continue
        name = Path(program).name
        if program.startswith(f"{settings.BIN}/") and name.startswith(("tunegate-kube-", "registry-", "issuer-")):
            found.append(f"process {directory.name} ({name})")
    return found


def leftovers() -> list[str]:
    """What of the cluster is on the machine and should not be after `stop`."""
    found = [f"process {name}" for name in processes.recorded_names() if processes.running_pid(name) is not None]
    found += _programs_left()
    found += [f"mount {point}" for point in mounts.below(settings.STATE)]
    found += network.leftovers()
    found += packet_filter.leftovers()
    found += cgroups.leftovers()
    found += [f"kernel setting {name}" for name in kernel.changed()]
    return found


def leftovers_after_wipe(cache: bool) -> list[str]:
    directories = [settings.STATE, settings.CACHE] if cache else [settings.STATE]
    return leftovers() + [f"directory {directory}" for directory in directories if directory.exists()]


def _require_clean(found: list[str]) -> None:
    if found:
        raise Failure("stop", "left on this machine:\n  " + "\n  ".join(found), "run `stop` again, then `check-clean`")
    say("stopped; nothing of the cluster is left but its files")
