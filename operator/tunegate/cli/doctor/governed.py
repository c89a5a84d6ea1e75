"""What lies in governed namespaces and leads to them, read with one person's rights. Secrets are not read: the operator compares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import Resource
from tunegate.api.modelserver import ModelServer
from tunegate.cli.cluster import Cluster
from tunegate.cli.doctor import attacks
from tunegate.cli.doctor.check import Check, need
from tunegate.reconcile.naming import CA_CONFIG_MAP

Json = Mapping[str, Any]
COLLECTIONS = {
    "ConfigMap": ("/api/v1", "configmaps"), "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Service": ("/api/v1", "services"), "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Deployment": ("/apis/apps/v1", "deployments"), "Job": ("/apis/batch/v1", "jobs"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
}  # fmt: skip
"""Kinds that the operator makes there: where each is listed."""
NETWORK_POLICIES = ("/apis/networking.k8s.io/v1", "networkpolicies")
OWNERLESS = frozenset({CA_CONFIG_MAP})
"""Objects of the operator that belong to no job and no server."""


class Governed:
    """Reads for the looks of doctor. Every method raises ``NotSeen`` where this person may not look."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def objects(self, namespace: str) -> Check:
        """Judge the objects that carry Tunegate's names or labels."""
        owners = {
            one["metadata"]["uid"] for one in (*self._all(FineTuneJob, namespace), *self._all(ModelServer, namespace))
        }
        found = [{**one, "kind": kind} for kind, place in COLLECTIONS.items() for one in self._listed(place, namespace)]
        return attacks.foreign(namespace, found, owners, OWNERLESS)

    def network(self, namespace: str) -> Check:
        """Judge the network policies."""
        return attacks.network(namespace, self._listed(NETWORK_POLICIES, namespace))

    def services(self) -> list[Json]:
        """Return the Services of the whole cluster."""
        return list(need("services", self._cluster.listed, "/api/v1/services"))

    def all_of(self, model: type[Resource], namespaces: Iterable[str]) -> list[Json]:
        """Return the objects of a kind in governed namespaces; the operator looks after no other."""
        return [found for namespace in namespaces for found in self._all(model, namespace)]

    def _all(self, model: type[Resource], namespace: str) -> list[Json]:
        return list(need(model.KIND.plural, self._cluster.all_raw, model, namespace))

    def _listed(self, place: tuple[str, str], namespace: str) -> list[Json]:
        group, plural = place
        return list(need(f"{plural} of {namespace}", self._cluster.listed, f"{group}/namespaces/{namespace}/{plural}"))
