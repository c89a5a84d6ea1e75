"""The Debian packages that the cluster is made of, installed when one is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunegate_local import settings
from tunegate_local.command import run_logged
from tunegate_local.progress import step

CNI_PLUGINS = Path("/usr/lib/cni")

# Package: a file that proves that it is there.
CLUSTER_PACKAGES: dict[str, str] = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": str(CNI_PLUGINS / "bridge"),
    "iptables": "iptables",
    "iproute2": "ip",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "openssl": "openssl",
    "util-linux": "unshare",
    "mount": "mount",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
IMAGE_PACKAGES: dict[str, str] = {"buildah": "buildah", "debootstrap": "debootstrap"}


def present(proof: str) -> bool:
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof) is not None


def ensure(packages: dict[str, str]) -> None:
    """Install what is missing; a package that starts a service is kept from starting it."""
    missing = [package for package, proof in packages.items() if not present(proof)]
    if not missing:
        return
    log = settings.LOGS / "apt-get.log"
    advice = f"run `apt-get install {' '.join(missing)}` by hand and start again"
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with step(f"installing Debian packages: {', '.join(missing)}", "1 minute"):
        run_logged(["apt-get", "update", "-q"], log, environment=quiet, next_step=advice)
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing]
        run_logged(install, log, environment=quiet, next_step=advice)
