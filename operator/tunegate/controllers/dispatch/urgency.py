"""Which changes may mean that something has to stop: their keys go before all others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tunegate.api.finetunejob.status import ENDED
from tunegate.api.modelrelease import MAY_SERVE
from tunegate.controllers.dispatch.facts import Target
from tunegate.kube.client import ObjectKey
from tunegate.reconcile.stops import STOPPING


def stops(obj: Mapping[str, Any], *, deleted: bool, servers: Iterable[ObjectKey]) -> list[Target]:
    """Return the keys that have to be looked at before anything else because of an object of ours.

    ``servers`` are the known ModelServers. Which one serves a release is for its own look to find out.
    """
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    key, kind = ObjectKey(metadata.get("namespace", ""), metadata["name"]), obj["kind"]
    if kind == "Approval" and not deleted and spec.get("decision") in STOPPING:
        subject = spec["subjectRef"]
        found: list[Target] = [(subject["kind"], ObjectKey(key.namespace, subject["name"]))]
        if subject["kind"] == "ModelRelease":
            found += [("ModelServer", one) for one in sorted(servers) if one.namespace == key.namespace]
        return found
    if kind == "ModelRelease":
        server = (status.get("serverRef") or {}).get("name")
        ended = deleted or "deletionTimestamp" in metadata or status.get("phase") not in MAY_SERVE
        return [("ModelServer", ObjectKey(key.namespace, server))] if server and ended else []
    if kind == "ModelServer" and not deleted:
        seen = status.get("observedGeneration")
        return [(kind, key)] if seen and metadata.get("generation") != seen else []
    if kind == "FineTuneJob" and not deleted and (spec.get("suspend") or "deletionTimestamp" in metadata):
        return [(kind, key)] if status.get("phase") not in ("Suspended", *ENDED) else []
    return []
