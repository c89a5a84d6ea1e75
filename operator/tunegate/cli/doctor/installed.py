"""The installed operator as its Deployment tells: which namespaces, which rules, which key and anchors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.admission.rules import Rule, parse
from tunegate.cli.cluster import Cluster
from tunegate.cli.doctor.check import NotSeen, need
from tunegate.cli.failure import CommandFailure
from tunegate.errors import Terminal

Json = Mapping[str, Any]
NAME = "tunegate-operator"


@dataclass(frozen=True)
class Installed:
    """What the chart told the operator."""

    namespace: str
    settings: Mapping[str, str]
    """Environment of the operator."""
    rules_name: str

    @property
    def governed(self) -> list[Json]:
        """Name and policy of each governed namespace."""
        return list(json.loads(self.settings.get("TUNEGATE_GOVERNED") or "[]"))

    @property
    def namespaces(self) -> list[str]:
        """Names of the governed namespaces."""
        return [str(one["name"]) for one in self.governed]

    @property
    def engine_images(self) -> list[str]:
        """Images that may run as an engine."""
        return list(json.loads(self.settings.get("TUNEGATE_ENGINE_IMAGES") or "[]"))

    def rules(self, cluster: Cluster) -> tuple[Rule, ...]:
        """Return the admission rules that the operator holds the live ones against. Raises ``NotSeen``."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{self.rules_name}"
        found = need(f"ConfigMap {self.namespace}/{self.rules_name}", cluster.read, path)
        text = ((found or {}).get("data") or {}).get("rules.yaml", "")
        try:
            return parse(text)
        except Terminal:
            raise NotSeen(f"ConfigMap {self.namespace}/{self.rules_name} holds no admission rules") from None


def installed(cluster: Cluster, namespace: str) -> Installed:
    """Read the operator's Deployment. Raises ``NotSeen``, or ``CommandFailure`` where there is none."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}"
    found = need(f"Deployment {namespace}/{NAME}", cluster.read, path)
    if found is None:
        raise CommandFailure(
            f"no Deployment {NAME} in namespace {namespace}: say where Tunegate is with --system-namespace"
        )
    spec = found["spec"]["template"]["spec"]
    environment = {one["name"]: str(one.get("value", "")) for one in spec["containers"][0].get("env") or ()}
    volumes = {one["name"]: one for one in spec.get("volumes") or ()}
    return Installed(namespace, environment, str((volumes.get("admission") or {}).get("configMap", {}).get("name", "")))
