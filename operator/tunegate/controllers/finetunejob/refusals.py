"""Why Kubernetes could not create the pods of an attempt: only events of its Job say so, no status does."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.errors import Terminal
from tunegate.kube.client import KubeClient
from tunegate.reconcile.attempt.lost_result import Json

LONGEST = 600


async def pod_refusal(kube: KubeClient, job: Json | None, pods: Sequence[Json]) -> str | None:
    """Return what the newest refusal of a pod of the batch/v1 Job says; None where no pod is missing or nothing is said.

    Where events may not be read nothing is said either. Raises ``Transient``.
    """
    if job is None or len(pods) >= int(job["spec"].get("completions") or 1):
        return None
    fields = f"involvedObject.uid={job['metadata']['uid']},reason=FailedCreate"
    try:
        events = await kube.list("v1", "Event", job["metadata"]["namespace"], fields=fields)
    except Terminal:
        return None
    newest = max(events, key=_last_seen, default=None)
    return None if newest is None else str(newest.get("message") or "")[:LONGEST].removeprefix("Error creating: ")


def _last_seen(event: Json) -> str:
    series = event.get("series") or {}
    found = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(found or event["metadata"].get("creationTimestamp") or "")
