"""Volumes: the process that makes a directory for each claim. See kube/volumes.go for why it is not a pod."""

from __future__ import annotations

from pathlib import Path

from tunegate_local import binaries, processes, settings, users

DIRECTORY = settings.STATE / "volumes"


def start() -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    own = users.ensure_kubeconfig(
        settings.PKI / "volume-provisioner.kubeconfig", "volume-provisioner", "tunegate-volume-provisioner", ()
    )
    command: list[str | Path] = [binaries.component("volume-provisioner"), f"--kubeconfig={own}", f"--root={DIRECTORY}"]
    processes.ensure("volume-provisioner", [*command, f"--node={settings.NODE}"])
