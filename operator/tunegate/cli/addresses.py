"""Where the installation says that its parts are reached from outside the cluster."""

from __future__ import annotations

from tunegate.api.markers import RESERVED
from tunegate.cli.cluster import Cluster, Json, readable

NAME = f"{RESERVED}addresses"
"""ConfigMap that the chart makes in each governed namespace, from its value `addresses`."""


def gateway(cluster: Cluster, namespace: str) -> str | None:
    """Return the address of gateways, in which `{server}` and `{namespace}` stand for theirs; None where it is not told."""
    return _told(cluster, namespace, "gateway")


def mlflow_run(cluster: Cluster, namespace: str, run_id: str | None) -> str | None:
    """Return the page of a run; None where it is not told where MLflow is, or there is no run."""
    address = _told(cluster, namespace, "mlflow") if run_id else None
    return f"{address.rstrip('/')}/#/runs/{run_id}" if address else None


def _told(cluster: Cluster, namespace: str, part: str) -> str | None:
    found: Json | None = readable(cluster.read, f"/api/v1/namespaces/{namespace}/configmaps/{NAME}")
    return str(((found or {}).get("data") or {}).get(part) or "") or None
