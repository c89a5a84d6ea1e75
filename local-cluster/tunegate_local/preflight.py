"""Reasons to refuse before anything on the machine is touched: each says what is wrong and what to do."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import shutil
import socket
import subprocess
from collections.abc import Collection
from pathlib import Path

from tunegate_local import settings
from tunegate_local.command import succeeds
from tunegate_local.failure import Failure

GIB = 1024**3
LISTEN = "0A"
DISK_FOR_CLUSTER = 3 * GIB
DISK_FOR_BINARIES = 6 * GIB
DISK_FOR_IMAGES = 25 * GIB

PORTS: dict[int, tuple[str, str]] = {
    settings.API_PORT: (settings.GATEWAY, "API server"),
    settings.ETCD_PORT: (settings.LOOPBACK, "etcd"),
    settings.ETCD_PEER_PORT: (settings.LOOPBACK, "etcd"),
    settings.KUBELET_PORT: (settings.GATEWAY, "kubelet"),
    settings.KUBELET_HEALTH_PORT: (settings.LOOPBACK, "kubelet"),
    settings.PROXY_METRICS_PORT: (settings.LOOPBACK, "kube-proxy"),
    settings.PROXY_HEALTH_PORT: (settings.LOOPBACK, "kube-proxy"),
    settings.CONTROLLER_MANAGER_PORT: (settings.LOOPBACK, "controller manager"),
    settings.SCHEDULER_PORT: (settings.LOOPBACK, "scheduler"),
    settings.DNS_PORT: (settings.GATEWAY, "cluster DNS"),
    settings.DNS_HEALTH_PORT: (settings.LOOPBACK, "cluster DNS"),
    settings.DNS_READY_PORT: (settings.LOOPBACK, "cluster DNS"),
    settings.REGISTRY_PORT: (settings.LOOPBACK, "image registry"),
}


def require_linux_root() -> None:
    if platform.system() != "Linux":
        raise Failure(
            "local cluster",
            f"needs Linux, this is {platform.system()}",
            "run it in a Linux machine: images are built on one too",
        )
    if platform.machine() != "x86_64":
        raise Failure(
            "local cluster",
            f"its images are built for x86_64, this is {platform.machine()}",
            "use an x86_64 machine",
        )
    if os.geteuid() != 0:
        raise Failure(
            "local cluster",
            "needs root: it makes a network bridge, mounts, containers and images",
            "run it with sudo",
        )


def require_debian() -> None:
    if shutil.which("apt-get") is None:
        raise Failure(
            "local cluster",
            "needs a Debian or Ubuntu machine: it installs containerd, runc and others with apt-get",
            "run it on Debian 12",
        )


def require_go() -> None:
    """Only asked for when a binary has to be built."""
    go = shutil.which("go")
    wanted = ".".join(str(part) for part in settings.GO_MINIMUM)
    advice = f"install Go {wanted} or newer and put it on PATH"
    if go is None:
        raise Failure("Go", "not found on PATH; Kubernetes is built from source here", advice)
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < settings.GO_MINIMUM:
        raise Failure("Go", f"{go} is {said or 'of an unknown version'}; {wanted} or newer is needed", advice)


def require_disk(directory: Path, needed: int, purpose: str) -> None:
    existing = directory
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise Failure(
            "disk",
            f"{existing} has {free / GIB:.1f} GiB free; {purpose} needs {needed / GIB:.0f} GiB",
            "free space, or set TUNEGATE_STATE and TUNEGATE_CACHE to directories on a larger disk",
        )


def require_free_ports(ours: Collection[int]) -> None:
    """Refuse when a program other than our own processes (their pids) listens where a component has to."""
    for address, port, inode in _listeners():
        if port not in PORTS:
            continue
        wanted_address, component = PORTS[port]
        if ipaddress.ip_address(address).is_unspecified or address == wanted_address:
            pid = _owner(inode)
            if pid in ours:
                continue
            raise Failure(
                "port",
                f"{wanted_address}:{port}, which the {component} needs, is taken by {_named(pid)}",
                "stop that program, then start again",
            )


def require_free_networks() -> None:
    """The pods' and services' address ranges must not be routed elsewhere already."""
    shown = subprocess.run(["ip", "-4", "route", "show"], capture_output=True, text=True, check=False).stdout
    for line in shown.splitlines():
        words = line.split()
        if not words or words[0] in {"default", "unreachable", "blackhole"} or settings.BRIDGE in words:
            continue
        try:
            routed = ipaddress.ip_network(words[0])
        except ValueError:
            continue
        for ours in (settings.POD_CIDR, settings.SERVICE_CIDR):
            if routed.overlaps(ipaddress.ip_network(ours)):
                raise Failure(
                    "network",
                    f"{ours} is needed for pods and services, but this machine routes `{line.strip()}`",
                    "remove that route (another cluster or a VPN?), then start again",
                )


def require_runnable_namespaces() -> None:
    if not succeeds(["unshare", "--mount", "--net", "--pid", "--fork", "true"]):
        raise Failure(
            "kernel",
            "this machine does not let root make mount, network and process namespaces (a container without rights?)",
            "use a virtual machine or a real one, or a cluster you have: CLUSTER=current",
        )


def _listeners() -> list[tuple[str, int, str]]:
    """(address, port, socket inode) of every listening TCP socket."""
    found: list[tuple[str, int, str]] = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] != LISTEN:
                continue
            raw, port = fields[1].split(":")
            words = bytes.fromhex(raw)
            packed = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
            found.append((socket.inet_ntop(family, packed), int(port, 16), fields[9]))
    return found


def _owner(inode: str) -> int | None:
    """Pid of a process that holds a socket."""
    wanted = f"socket:[{inode}]"
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            if any(str(link.readlink()) == wanted for link in (directory / "fd").iterdir()):
                return int(directory.name)
        except OSError:
            continue  # ended meanwhile, or not ours to look at
    return None


def _named(pid: int | None) -> str:
    if pid is None:
        return "a process that could not be found"
    try:
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"process {pid}"
