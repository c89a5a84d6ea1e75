"""A containerd of our own beside any that the machine already runs: own root, state, socket and configuration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

from tunegate_local import debian, files, images_index, network, processes, settings
from tunegate_local.command import run, succeeds

NAME = "containerd"
HOME = settings.STATE / "containerd"
STORE = settings.CACHE / "containerd"
"""Unpacked images. It outlives the cluster: to unpack gigabytes takes minutes."""
CONFIGURATION = HOME / "config.toml"
READY_SECONDS = 30.0
KUBERNETES_NAMESPACE = "k8s.io"


def ctr(*words: str) -> list[str]:
    return ["ctr", "--address", str(settings.CONTAINERD_SOCKET), "--namespace", KUBERNETES_NAMESPACE, *words]


def start() -> None:
    new_cluster = not CONFIGURATION.exists()
    HOME.mkdir(parents=True, exist_ok=True)
    files.keep(CONFIGURATION, _configuration())
    _write_registry_hosts()
    _run()
    if new_cluster and _forget_containers():
        # Its plugin for Kubernetes looks for containers only when it starts.
        processes.end(NAME)
        _run()


def _run() -> None:
    processes.ensure(NAME, [_program(), "--config", CONFIGURATION], settings_text=_configuration())
    processes.wait_ready(NAME, lambda: succeeds(ctr("version")), READY_SECONDS)


def _forget_containers() -> bool:
    """Remove what an earlier cluster left in the store, and return whether there was any."""
    names = run(ctr("containers", "list", "-q")).split()
    if names:
        run(ctr("containers", "delete", *names), next_step=f"remove {STORE}, and start again")
    return bool(names)


def keep_images(references: Collection[str]) -> None:
    """Remove all images from our registry but these. Layers that a container uses stay until it ends."""
    if processes.running_pid(NAME) is None:
        return
    listed = [line.split()[:3] for line in run(ctr("images", "list")).splitlines()[1:]]
    kept = {digest for name, _, digest in listed if name in references}
    old = {digest for name, _, digest in listed if name.startswith(settings.IMAGE_PREFIX)} - kept
    names = [name for name, _, digest in listed if digest in old]
    if names:
        run(ctr("images", "delete", *names), next_step=f"remove {STORE}, and start again")


def _program() -> str:
    return shutil.which("containerd") or "/usr/bin/containerd"


def _quoted(value: Path | str) -> str:
    return json.dumps(str(value))


def _configuration() -> str:
    return f"""\
version = 2
root = {_quoted(STORE)}
state = {_quoted(HOME / "state")}
oom_score = 0

[grpc]
  address = {_quoted(settings.CONTAINERD_SOCKET)}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {_quoted(images_index.pause_image())}
  # A host without CAP_SYS_RESOURCE can't lower a score below its own.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  max_concurrent_downloads = 4
  stream_server_address = "{settings.LOOPBACK}"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  # The blobs stay in the image registry; keeping them here too would double gigabytes.
  discard_unpacked_layers = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = {_quoted(debian.CNI_PLUGINS)}
  conf_dir = {_quoted(network.CONFIGURATION)}

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = {_quoted(HOME / "registries")}
"""


def _write_registry_hosts() -> None:
    directory = HOME / "registries" / settings.REGISTRY
    directory.mkdir(parents=True, exist_ok=True)
    text = f'server = "http://{settings.REGISTRY}"\n\n[host."http://{settings.REGISTRY}"]\n'
    text += '  capabilities = ["pull", "resolve"]\n'
    files.keep(directory / "hosts.toml", text)
