"""What runs, where it lies and how to reach it, for a person."""

from __future__ import annotations

import subprocess

from tunegate_local import binaries, control_plane, images_index, packet_filter, processes, settings, users
from tunegate_local.progress import say

COMPONENTS = (
    "image-registry",
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "volume-provisioner",
)


def show() -> bool:
    """Print it; True when every component runs."""
    pids = {name: processes.running_pid(name) for name in COMPONENTS}
    for name, pid in pids.items():
        say(f"  {name:<24} {f'running, pid {pid}' if pid else 'not running'}")
    if pids["kube-apiserver"]:
        say("")
        shown = subprocess.run(control_plane.kubectl("get", "nodes"), capture_output=True, text=True, check=False)
        say((shown.stdout or shown.stderr).rstrip())
        say("")
        say(f"  API server    {settings.API_URL}")
        say(f"  egress        {'allowed' if packet_filter.egress_allowed() else 'blocked'} for pods")
        say(f"  kubectl       {binaries.kubectl()}")
        say(f"  kubeconfigs   {settings.USERS}/<role>.kubeconfig: {', '.join(user.role for user in users.PEOPLE)}")
    index = images_index.read()
    say(f"  images        {', '.join(index) if index else 'none built'} ({settings.IMAGES_FILE})")
    return all(pids.values())
