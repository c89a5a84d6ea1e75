"""The pods' network: one bridge whose address is the node's address, and the plugin configuration that puts pods on it."""

from __future__ import annotations

import json
import subprocess

from tunegate_local import files, settings
from tunegate_local.command import run, succeeds

CONFIGURATION = settings.STATE / "cni" / "net.d"
ADDRESSES = settings.STATE / "cni" / "addresses"
PREFIX_LENGTH = settings.POD_CIDR.partition("/")[2]


def bridge_exists() -> bool:
    return settings.BRIDGE in _interfaces()


def _interfaces() -> list[str]:
    shown = subprocess.run(["ip", "-j", "link", "show"], capture_output=True, text=True, check=False).stdout
    return [link["ifname"] for link in json.loads(shown or "[]")]


def prepare() -> None:
    """Make the bridge before any pod, because the API server and the kubelet listen on its address."""
    if not bridge_exists():
        run(["ip", "link", "add", settings.BRIDGE, "type", "bridge"])
    run(["ip", "addr", "replace", f"{settings.GATEWAY}/{PREFIX_LENGTH}", "dev", settings.BRIDGE])
    run(["ip", "link", "set", settings.BRIDGE, "up"])
    # Without a default route (an air-gapped machine) the node itself could not address services.
    route = [settings.SERVICE_CIDR, "dev", settings.BRIDGE, "src", settings.GATEWAY]
    run(["ip", "route", "replace", *route])
    _write_configuration()


def _write_configuration() -> None:
    CONFIGURATION.mkdir(parents=True, exist_ok=True)
    bridge = {
        "type": "bridge",
        "bridge": settings.BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        # Masquerading is one rule of ours, not a chain per pod.
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": str(ADDRESSES),
            "ranges": [[{"subnet": settings.POD_CIDR, "gateway": settings.GATEWAY}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    document = {"cniVersion": "0.4.0", "name": "tunegate-local", "plugins": [bridge, ports]}
    files.keep(CONFIGURATION / "10-tunegate.conflist", json.dumps(document, indent=2) + "\n")


def restore() -> None:
    if bridge_exists():
        for member in bridge_members():
            delete = ["ip", "link", "delete", member]
            # The end of its container may take it away at the same moment: then there is nothing to say.
            if not succeeds(delete) and member in bridge_members():
                run(delete)
        run(["ip", "link", "delete", settings.BRIDGE])


def bridge_members() -> list[str]:
    command = ["ip", "-j", "link", "show", "master", settings.BRIDGE]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [link["ifname"] for link in json.loads(shown or "[]") if "ifname" in link]


def leftovers() -> list[str]:
    return [f"interface {settings.BRIDGE}"] if bridge_exists() else []
