"""The cluster that the demo runs on: the local one, or the user's when asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tunegate_demo.failure import DemoFailure
from tunegate_demo.kubectl import Kubectl
from tunegate_demo.screen import Screen

CHECKOUT = Path(__file__).resolve().parents[2]
PEOPLE = {
    "engineer": ("erin", "tunegate:engineers"),
    "reviewer-risk": ("ravi", "tunegate:model-risk"),
    "reviewer-compliance": ("cora", "tunegate:compliance"),
    "evaluation-owner": ("eva", "tunegate:evaluation-owners"),
    "policy-owner": ("paul", "tunegate:policy-owners"),
    "auditor": ("ada", "tunegate:auditors"),
}


@dataclass(frozen=True)
class Cluster:
    """Tools, credentials and images."""

    helm: Path
    admin: Kubectl
    users: dict[str, Kubectl]
    images: dict[str, str]
    local: bool

    def tries_beyond(self) -> tuple[int, list[str]]:
        """Return how many packets of pods were refused at the node so far, and which names beyond the cluster were asked for.

        Nothing where the cluster is not the local one: only its node counts them.
        """
        if not self.local:
            return 0, []
        seen = json.loads(local_tool("egress", "--json", capture=True))
        return seen["refusedPackets"], seen["names"]

    def user(self, role: str) -> Kubectl:
        """Return kubectl with the credentials of one of ``PEOPLE``."""
        return self.users[role]


def cache_folder() -> Path:
    """Return where builds and downloads are kept between runs."""
    return Path(os.environ.get("TUNEGATE_CACHE", Path.home() / ".cache" / "tunegate"))


def state_folder() -> Path:
    """Return where the local cluster lives."""
    return Path(os.environ.get("TUNEGATE_STATE", "/var/lib/tunegate-local"))


def local_tool(*arguments: str, capture: bool = False) -> str:
    """Run the local cluster's command line and let it print, or return what it prints. Raises DemoFailure when it fails."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "local-cluster")}
    command = [sys.executable, "-m", "tunegate_local", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE if capture else None, text=True, check=False)
    if done.returncode:
        raise DemoFailure(
            f"the local cluster's `{' '.join(arguments)}` failed",
            "read the lines above; `make cluster-status` shows what runs, `make clean` starts afresh",
        )
    return done.stdout or ""


def start_local(screen: Screen) -> Cluster:
    """Start the local cluster and build its images; what exists is reused."""
    with screen.step("Cluster", "10 s, once 10 min"):
        local_tool("start")
    with screen.step("Container images", "10 s, once 8 min"):
        local_tool("images")
    binaries, state = cache_folder() / "bin", state_folder()
    users = {role: Kubectl(binaries / "kubectl", state / "users" / f"{role}.kubeconfig") for role in PEOPLE}
    return Cluster(
        helm=binaries / "helm",
        admin=Kubectl(binaries / "kubectl", state / "users" / "platform-admin.kubeconfig"),
        users=users,
        images=json.loads((cache_folder() / "images.json").read_text()),
        local=True,
    )


def use_current(screen: Screen) -> Cluster:
    """Use the cluster of ``KUBECONFIG``; people are impersonated, so its user must be allowed to do that."""
    registry = os.environ.get("REGISTRY")
    kubeconfig = os.environ.get("KUBECONFIG")
    if not registry or not kubeconfig:
        raise DemoFailure(
            "CLUSTER=current needs KUBECONFIG and REGISTRY",
            "set REGISTRY=host/path of a registry that this machine can push to and the nodes can pull from",
        )
    screen.say(f"Cluster of {kubeconfig}. Will be installed: CRDs of tunegate.io, namespaces tunegate-system,")
    screen.say("licenses-team and licenses-app, the Helm releases tunegate-crds and tunegate, admission policies")
    screen.say(f"for licenses-team, cluster roles named tunegate-*; images are pushed to {registry}.")
    if os.environ.get("CONFIRM") != "yes":
        raise DemoFailure("nothing was installed yet", "run again with CONFIRM=yes to go on")
    with screen.step("Container images", "8 min"):
        local_tool("images", "--registry", registry)
    binaries = cache_folder() / "bin"
    admin = Kubectl(binaries / "kubectl", Path(kubeconfig))
    users = {
        role: Kubectl(admin.binary, admin.kubeconfig, (f"--as={name}", f"--as-group={group}"))
        for role, (name, group) in PEOPLE.items()
    }
    images = json.loads((cache_folder() / "images-pushed.json").read_text())
    return Cluster(binaries / "helm", admin, users, images, local=False)


def connect(screen: Screen) -> Cluster:
    """Return the cluster to work on: the local one unless ``CLUSTER=current``."""
    chosen = os.environ.get("CLUSTER", "local")
    if chosen == "current":
        return use_current(screen)
    if chosen != "local":
        raise DemoFailure(f"CLUSTER={chosen} is unknown", "allowed: local, current")
    if os.environ.get("KUBECONFIG"):
        screen.say("KUBECONFIG is set but not used: nothing is installed into it unless CLUSTER=current is given too.")
    return start_local(screen)
