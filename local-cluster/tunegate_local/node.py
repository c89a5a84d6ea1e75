"""The node's own parts: kubelet and kube-proxy."""

from __future__ import annotations

import json
from pathlib import Path

from tunegate_local import binaries, certificates, control_plane, files, processes, settings, users
from tunegate_local.command import run, succeeds

KUBELET_HOME = settings.STATE / "kubelet"
POD_LOGS = settings.STATE / "pod-logs"
RESOLVER = settings.STATE / "resolv.conf"
READY_SECONDS = 60.0


def start() -> None:
    _start_kubelet()
    _start_proxy()
    processes.wait_ready("kubelet", _node_ready, READY_SECONDS)


def _node_ready() -> bool:
    return succeeds(control_plane.kubectl("wait", "--for=condition=Ready", f"node/{settings.NODE}", "--timeout=1s"))


def _write(name: str, document: dict[str, object]) -> tuple[Path, str]:
    text = json.dumps(document, indent=2) + "\n"
    path = settings.STATE / name
    files.keep(path, text)
    return path, text


def _start_kubelet() -> None:
    serving = certificates.ensure_leaf(
        "kubelet-server", settings.NODE, (), (f"DNS:{settings.NODE}", f"IP:{settings.GATEWAY}")
    )
    own = users.ensure_kubeconfig(
        settings.PKI / "kubelet.kubeconfig", "kubelet", f"system:node:{settings.NODE}", ("system:nodes",)
    )
    # Pods that ask for the node's resolver get the cluster's: the machine's own could tell names to the outside.
    files.keep(RESOLVER, f"nameserver {settings.DNS_SERVICE}\n")
    POD_LOGS.mkdir(parents=True, exist_ok=True)
    path, text = _write(
        "kubelet.json",
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": settings.GATEWAY,
            "port": settings.KUBELET_PORT,
            "healthzBindAddress": settings.LOOPBACK,
            "healthzPort": settings.KUBELET_HEALTH_PORT,
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(certificates.authority().certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{settings.CONTAINERD_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": False,
            "clusterDNS": [settings.DNS_SERVICE],
            "clusterDomain": settings.CLUSTER_DOMAIN,
            "resolvConf": str(RESOLVER),
            "podLogsDir": str(POD_LOGS),
            "serializeImagePulls": False,
            "maxParallelImagePulls": 4,
            "registryPullQPS": 0,
            # Bounds in bytes: shares of a large disk that others fill too would throw out pods and gigabytes of images.
            "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
        },
    )
    processes.ensure(
        "kubelet",
        [
            binaries.component("kubelet"),
            f"--config={path}",
            f"--kubeconfig={own}",
            f"--root-dir={KUBELET_HOME}",
            f"--hostname-override={settings.NODE}",
            f"--node-ip={settings.GATEWAY}",
            f"--node-labels={settings.NODE_LABELS}",
        ],
        settings_text=text,
    )


def _start_proxy() -> None:
    own = users.ensure_kubeconfig(settings.PKI / "kube-proxy.kubeconfig", "kube-proxy", "system:kube-proxy", ())
    path, text = _write(
        "kube-proxy.json",
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "bindAddress": settings.GATEWAY,
            "hostnameOverride": settings.NODE,
            "clusterCIDR": settings.POD_CIDR,
            "clientConnection": {"kubeconfig": str(own)},
            "metricsBindAddress": f"{settings.LOOPBACK}:{settings.PROXY_METRICS_PORT}",
            "healthzBindAddress": f"{settings.LOOPBACK}:{settings.PROXY_HEALTH_PORT}",
            "nodePortAddresses": [settings.POD_CIDR],
            "iptables": {"localhostNodePorts": False, "minSyncPeriod": "200ms"},
            # Zero leaves the machine's connection tracking limits alone.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
                "udpTimeout": "0s",
                "udpStreamTimeout": "0s",
            },
        },
    )
    processes.ensure("kube-proxy", [binaries.component("kube-proxy"), f"--config={path}"], settings_text=text)


def remove_service_rules() -> None:
    """kube-proxy's own way to take its rules back; the process has ended before."""
    program = binaries.component("kube-proxy")
    if program.exists():
        run([program, "--cleanup"])
