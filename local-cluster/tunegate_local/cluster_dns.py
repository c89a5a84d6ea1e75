"""CoreDNS as a process on the bridge's address. It knows the cluster's names only and forwards nothing.

A question for any other name is refused and noted, so that `egress` can show who tried to leave the cluster.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from tunegate_local import binaries, files, processes, settings, users

CONFIGURATION = settings.STATE / "Corefile"
READY_SECONDS = 30.0
_BEYOND = "beyond the cluster:"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def start() -> None:
    own = users.ensure_kubeconfig(settings.PKI / "coredns.kubeconfig", "coredns", "tunegate-dns", ())
    text = f"""\
{settings.CLUSTER_DOMAIN}:{settings.DNS_PORT} in-addr.arpa:{settings.DNS_PORT} {{
    bind {settings.GATEWAY}
    errors
    health {settings.LOOPBACK}:{settings.DNS_HEALTH_PORT}
    ready {settings.LOOPBACK}:{settings.DNS_READY_PORT}
    kubernetes {settings.CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {own}
        pods insecure
        ttl 5
    }}
    cache 5
    loadbalance
}}
.:{settings.DNS_PORT} {{
    bind {settings.GATEWAY}
    log . "{_BEYOND} {{name}} asked by {{remote}}"
}}
"""
    files.keep(CONFIGURATION, text)
    command: list[str | Path] = [binaries.component("coredns"), "-conf", CONFIGURATION]
    processes.ensure("coredns", command, settings_text=text)
    processes.wait_ready("coredns", _ready, READY_SECONDS)


def _ready() -> bool:
    try:
        with _DIRECT.open(f"http://{settings.LOOPBACK}:{settings.DNS_READY_PORT}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def names_beyond() -> list[str]:
    """Return every question for a name outside the cluster since the log began: `name asked by address`, oldest first."""
    log = settings.LOGS / "coredns.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [line.split(_BEYOND, 1)[1].strip() for line in lines if _BEYOND in line]
