"""How a server is reached from outside the cluster: an Ingress, or an HTTPRoute at a Gateway of the site.

Either leads every path of one host to the server's Service, whose gateway answers no model without a credential; `/healthz` and
`/readyz`, which the kubelet asks, need none. Nothing else of such an object is the owner's to say: annotations command the
controllers that read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tunegate.api.markers import RESERVED
from tunegate.api.modelserver import Exposure

Way = Literal["Ingress", "HTTPRoute"]
API_VERSIONS: Mapping[Way, str] = {"Ingress": "networking.k8s.io/v1", "HTTPRoute": "gateway.networking.k8s.io/v1"}
TO_HTTPS: Mapping[str, str] = {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"}
"""For servers with a certificate of their own. Of an HTTPRoute a BackendTLSPolicy says it, which names whom to trust."""


def exposure_name(server: str) -> str:
    """Return the name of a server's Ingress or HTTPRoute."""
    return f"{RESERVED}{server}"


def way_of(expose: Exposure) -> Way:
    """Return what kind of object leads to the server."""
    return "HTTPRoute" if expose.gateway_ref is not None else "Ingress"


def exposure(expose: Exposure, server: str, metadata: Mapping[str, Any], *, tls: bool) -> dict[str, Any]:
    """Return the object. ``metadata``: with the server as owner; ``tls``: whether the server itself speaks HTTPS only."""
    port = 443 if tls else 80
    way = way_of(expose)
    made: dict[str, Any] = {"apiVersion": API_VERSIONS[way], "kind": way, "metadata": dict(metadata)}
    if expose.gateway_ref is not None:
        parent = {
            "name": expose.gateway_ref.name,
            "namespace": expose.gateway_ref.namespace,
            "sectionName": expose.gateway_ref.section_name,
        }
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"name": server, "port": port}],
        }
        kept = {key: value for key, value in parent.items() if value is not None}
        return {**made, "spec": {"parentRefs": [kept], "hostnames": [expose.host], "rules": [rule]}}
    if tls:
        made["metadata"]["annotations"] = dict(TO_HTTPS)
    backend = {"service": {"name": server, "port": {"number": port}}}
    spec: dict[str, Any] = {
        "ingressClassName": expose.ingress_class_name,
        "rules": [{"host": expose.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
    }
    if expose.tls_secret_name is not None:
        spec["tls"] = [{"hosts": [expose.host], "secretName": expose.tls_secret_name}]
    return {**made, "spec": spec}
