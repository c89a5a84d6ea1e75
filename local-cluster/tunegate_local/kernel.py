"""Kernel settings that the cluster or its components change, written down before the first start and put back at stop."""

from __future__ import annotations

import json
from pathlib import Path

from tunegate_local import settings
from tunegate_local.command import succeeds

REMEMBERED = settings.STATE / "kernel-settings.json"

# What we need ourselves.
WANTED = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
}
# What kubelet and kube-proxy set on their own.
TOUCHED = (
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/vs/conntrack",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def _file(name: str) -> Path:
    return Path("/proc/sys") / name


def prepare() -> None:
    if not _file("net/bridge/bridge-nf-call-iptables").exists():
        succeeds(["modprobe", "br_netfilter"])
    if not REMEMBERED.exists():
        before = {name: _file(name).read_text().strip() for name in (*WANTED, *TOUCHED) if _file(name).exists()}
        REMEMBERED.parent.mkdir(parents=True, exist_ok=True)
        REMEMBERED.write_text(json.dumps(before, indent=2) + "\n")
    for name, value in WANTED.items():
        if _file(name).exists() and _file(name).read_text().strip() != value:
            _file(name).write_text(value)


def changed() -> list[str]:
    """Settings that differ from what they were before the first start."""
    if not REMEMBERED.exists():
        return []
    before: dict[str, str] = json.loads(REMEMBERED.read_text())
    return [name for name, value in before.items() if _file(name).exists() and _file(name).read_text().strip() != value]


def restore() -> None:
    if not REMEMBERED.exists():
        return
    before: dict[str, str] = json.loads(REMEMBERED.read_text())
    for name in changed():
        _file(name).write_text(before[name])
    REMEMBERED.unlink()
