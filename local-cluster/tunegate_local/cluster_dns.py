"""CoreDNS as a process on the bridge's address. It knows the cluster's names only and forwards nothing."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from tunegate_local import binaries, files, processes, settings, users

CONFIGURATION = settings.STATE / "Corefile"
READY_SECONDS = 30.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def start() -> None:
    own = users.ensure_kubeconfig(settings.PKI / "coredns.kubeconfig", "coredns", "tunegate-dns", ())
    text = f"""\
.:{settings.DNS_PORT} {{
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
