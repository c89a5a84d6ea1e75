"""Starting the whole cluster in its order. Every step looks first whether it is done, so a second start takes seconds."""

from __future__ import annotations

from tunegate_local import (
    binaries,
    certificates,
    cluster_dns,
    container_runtime,
    control_plane,
    debian,
    image_registry,
    images,
    kernel,
    network,
    node,
    packet_filter,
    preflight,
    processes,
    settings,
    users,
    volumes,
)
from tunegate_local.command import run
from tunegate_local.progress import say, step

MARKER = ".tunegate-local"
MARKER_TEXT = "This directory belongs to Tunegate's local cluster; `wipe` removes it.\n"


def start() -> None:
    _refuse_where_it_cannot_run()
    for directory in (settings.STATE, settings.CACHE):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MARKER).write_text(MARKER_TEXT)
    settings.STATE.chmod(0o755)
    debian.ensure({**debian.CLUSTER_PACKAGES, **debian.IMAGE_PACKAGES})
    preflight.require_runnable_namespaces()
    preflight.require_free_ports(_our_pids())
    preflight.require_free_networks()
    binaries.ensure_cluster_programs()
    kernel.prepare()
    network.prepare()
    packet_filter.prepare()
    with step("image registry", "1 s"):
        image_registry.start()
        images.ensure("pause")
    certificates.ensure_authorities()
    users.ensure_people()
    with step("container runtime", "1 s"):
        container_runtime.start()
    with step("control plane", "10 s"):
        control_plane.start()
        _apply_cluster_objects()
    with step("node, DNS and volumes", "10 s"):
        node.start()
        cluster_dns.start()
        volumes.start()
    _say_how_to_use_it()


def _refuse_where_it_cannot_run() -> None:
    preflight.require_linux_root()
    preflight.require_debian()
    preflight.require_disk(settings.STATE, preflight.DISK_FOR_CLUSTER, "the cluster's state")


def _our_pids() -> set[int]:
    return {pid for name in processes.recorded_names() if (pid := processes.running_pid(name)) is not None}


def _apply_cluster_objects() -> None:
    apply = ["apply", "--server-side", "--force-conflicts", "-f", str(settings.MANIFESTS)]
    run(control_plane.kubectl(*apply), next_step="see `tunegate_local logs kube-apiserver`")


def _say_how_to_use_it() -> None:
    egress = "allowed" if packet_filter.egress_allowed() else "blocked"
    say(f"Kubernetes {settings.KUBERNETES_VERSION} runs: node {settings.NODE}, egress of pods {egress}.")
    say(f"  export KUBECONFIG={settings.ADMIN_KUBECONFIG}")
    say(f"  {binaries.kubectl()} get nodes")
