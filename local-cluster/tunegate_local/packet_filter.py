"""iptables rules of our own, in chains of our own, so that they can be removed without touching anybody else's.

Pods reach pods, services and the node; everything further is refused at the node unless `egress allow` was said. The bridge
plugin knows no NetworkPolicy, so this is what proves that nothing is fetched at run time.
"""

from __future__ import annotations

import subprocess

from tunegate_local import settings
from tunegate_local.command import run, succeeds

FORWARD_CHAIN = "TUNEGATE-FORWARD"
MASQUERADE_CHAIN = "TUNEGATE-MASQUERADE"
TABLES = ("filter", "nat", "mangle", "raw")
FAMILIES = ("iptables", "ip6tables")
CHOICE = settings.STATE / "egress"
# Chains that Kubernetes components make; kube-proxy's own clean-up forgets some of them.
COMPONENT_PREFIXES = ("KUBE-", "CNI-")
BASELINE = settings.STATE / "packet-filter-before"


def _iptables(table: str, *words: str) -> None:
    run(["iptables", "-w", "-t", table, *words])


def egress_allowed() -> bool:
    return CHOICE.exists() and CHOICE.read_text().strip() == "allow"


def choose_egress(allowed: bool) -> None:
    CHOICE.parent.mkdir(parents=True, exist_ok=True)
    CHOICE.write_text("allow\n" if allowed else "block\n")


def prepare() -> None:
    """Write our chains again; what is in force changes at once, also for connections that are open."""
    if not BASELINE.exists():
        BASELINE.write_text("\n".join(component_chains()))
    pods, services = settings.POD_CIDR, settings.SERVICE_CIDR
    beyond = ["-j", "ACCEPT"] if egress_allowed() else ["-j", "REJECT"]
    replies = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"]
    _fill(
        "filter",
        FORWARD_CHAIN,
        "FORWARD",
        [
            ["-s", pods, "-d", pods, "-j", "ACCEPT"],
            ["-s", pods, "-d", services, "-j", "ACCEPT"],
            ["-s", pods, *beyond],
            ["-d", pods, *replies],
        ],
    )
    _fill(
        "nat",
        MASQUERADE_CHAIN,
        "POSTROUTING",
        [
            ["-s", pods, "!", "-o", settings.BRIDGE, "-j", "MASQUERADE"],
        ],
    )


def refused_packets() -> int:
    """Return how many packets of pods were refused since the last start: each is a try to reach beyond the cluster."""
    rules = run(["iptables", "-w", "-t", "filter", "-n", "-v", "-x", "-L", FORWARD_CHAIN]).splitlines()
    return sum(int(fields[0]) for fields in map(str.split, rules) if fields[2:3] == ["REJECT"])


def _fill(table: str, chain: str, parent: str, rules: list[list[str]]) -> None:
    if not succeeds(["iptables", "-w", "-t", table, "-n", "-L", chain]):
        _iptables(table, "-N", chain)
    _iptables(table, "-F", chain)
    for rule in rules:
        _iptables(table, "-A", chain, *rule)
    # First of all, or another program's ACCEPT would come before our refusal.
    _remove_jumps(table, chain, parent)
    _iptables(table, "-I", parent, "1", "-j", chain)


def _remove_jumps(table: str, chain: str, parent: str) -> None:
    while succeeds(["iptables", "-w", "-t", table, "-C", parent, "-j", chain]):
        _iptables(table, "-D", parent, "-j", chain)


def restore() -> None:
    for table, chain, parent in (("filter", FORWARD_CHAIN, "FORWARD"), ("nat", MASQUERADE_CHAIN, "POSTROUTING")):
        if succeeds(["iptables", "-w", "-t", table, "-n", "-L", chain]):
            _remove_jumps(table, chain, parent)
            _iptables(table, "-F", chain)
            _iptables(table, "-X", chain)
    _remove_component_chains()
    BASELINE.unlink(missing_ok=True)


def _remove_component_chains() -> None:
    """Chains of Kubernetes' components that were not there before the first start, and the rules that lead to them."""
    before = set(BASELINE.read_text().splitlines()) if BASELINE.exists() else set()
    for entry in component_chains():
        if entry in before:
            continue
        command, table, chain = entry.split()
        for rule in _saved(command, table):
            if rule.startswith("-A ") and f"-j {chain}" in rule and not rule.startswith(f"-A {chain} "):
                run(["sh", "-c", f"{command} -w -t {table} -D {rule[3:]}"])
        run([command, "-w", "-t", table, "-F", chain])
    for entry in component_chains():
        if entry not in before:
            command, table, chain = entry.split()
            run([command, "-w", "-t", table, "-X", chain])


def component_chains() -> list[str]:
    """`command table chain` of every chain that looks like a Kubernetes component's."""
    found = []
    for command in FAMILIES:
        for table in TABLES:
            for line in _saved(command, table):
                if line.startswith(":") and line[1:].startswith(COMPONENT_PREFIXES):
                    found.append(f"{command} {table} {line[1:].split()[0]}")
    return found


def leftovers() -> list[str]:
    """Our rules and chains, and those of components that were not there before."""
    before = set(BASELINE.read_text().splitlines()) if BASELINE.exists() else set()
    found = [entry for entry in component_chains() if entry not in before]
    for command in FAMILIES:
        for table in TABLES:
            found += [f"{command} {table} {line}" for line in _saved(command, table) if "TUNEGATE-" in line]
    return found


def _saved(command: str, table: str) -> list[str]:
    try:
        shown = subprocess.run([f"{command}-save", "-t", table], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return shown.stdout.splitlines()
