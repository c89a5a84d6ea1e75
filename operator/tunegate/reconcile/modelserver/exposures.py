"""Whether a server is reached from outside the cluster, and by what. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.kube.client import ObjectRef
from tunegate.manifests.exposure import API_VERSIONS, exposure, exposure_name, way_of
from tunegate.reconcile import naming
from tunegate.reconcile.modelserver.observed import Observed


def obstacle(seen: Observed, domains: Sequence[str]) -> str:
    """Return why the server is not exposed as its spec says; empty: it is, or nobody asked for it."""
    expose = seen.server.spec.expose
    if expose is None:
        return ""
    if not any(expose.host == domain or expose.host.endswith(f".{domain}") for domain in domains):
        allowed = ", ".join(domains) or "none, since expose.domains of the chart's values is empty"
        return (
            f"not exposed: spec.expose.host {expose.host} is under no domain that this installation allows ({allowed})"
        )
    if way_of(expose) in seen.outside.unknown:
        return f"not exposed: the cluster does not know {way_of(expose)} of {API_VERSIONS[way_of(expose)]}"
    return ""


def wanted(seen: Observed, domains: Sequence[str], owner: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the Ingress or HTTPRoute to be; None: there shall be none."""
    server = seen.server
    if server.spec.expose is None or obstacle(seen, domains):
        return None
    metadata = {
        "name": exposure_name(server.name),
        "namespace": server.namespace,
        "labels": dict(naming.server_labels(server.name)),
        "ownerReferences": [dict(owner)],
    }
    return exposure(server.spec.expose, server.name, metadata, tls=server.spec.tls is not None)


def left_over(seen: Observed, leads: Mapping[str, Any] | None) -> tuple[ObjectRef, ...]:
    """Return what leads to the server and shall not any more. ``leads``: what shall."""
    server, kept = seen.server, leads["kind"] if leads is not None else None
    name = exposure_name(server.name)
    return tuple(
        ObjectRef(API_VERSIONS[way], way, name, server.namespace)
        for way in sorted(seen.outside.existing)
        if way != kept
    )
