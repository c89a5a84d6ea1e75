"""Reads what leads to a server from outside the cluster."""

from __future__ import annotations

from tunegate.api.modelserver import ModelServer
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.kube.likeness import controller_uid
from tunegate.manifests.exposure import API_VERSIONS, Way, exposure_name
from tunegate.reconcile.modelserver.observed import Outside


async def look_outside(kube: KubeClient, server: ModelServer) -> Outside:
    """Return what leads to the server, and what the cluster cannot make.

    Also where no domain is allowed: what was made while one was leads there until it is deleted.
    """
    found: set[Way] = set()
    known = {way for way, api_version in API_VERSIONS.items() if await kube.knows(api_version, way)}
    for way in known:
        ref = ObjectRef(API_VERSIONS[way], way, exposure_name(server.name), server.namespace)
        live = await kube.get(ref)
        if live is not None and controller_uid(live) == server.uid:
            found.add(way)
    return Outside(frozenset(found), frozenset(API_VERSIONS) - known)
