"""Which objects are history: their verdict stands, and nothing that happens to others changes it. Pure.

It is told from the objects as the API server gives them, since thousands are looked at and few are needed as models.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tunegate.api.conditions import from_rfc3339
from tunegate.api.finetunejob.status import ENDED
from tunegate.api.modelrelease import MAY_SERVE, STOPPED
from tunegate.reconcile.mlflow_records import CONDITION

SETTLED = timedelta(days=1)
"""After so long without a change, what had to be done after the end is done: records, Secrets, MLflow."""
OPEN_ONLY: Mapping[str, str] = {
    "FineTuneJob": ",".join(f"status.phase!={phase}" for phase in ENDED),
    "ModelRelease": ",".join(f"status.phase!={phase}" for phase in STOPPED),
}
"""Kind -> field selector that leaves history out of a listing."""


def ended(obj: Mapping[str, Any]) -> bool:
    """Tell whether a job or release has ended for good: no decision and no other object changes that."""
    status = obj.get("status") or {}
    phase = status.get("phase")
    match obj["kind"]:
        case "FineTuneJob":
            return phase in ENDED
        case "ModelRelease":
            # With a digest it may come back when the registry does.
            return phase in STOPPED or (phase == "Failed" and not status.get("releaseDigest"))
    return False


def settled_time(obj: Mapping[str, Any]) -> datetime | None:
    """Return from when on an object needs no look at all; None: it has not ended, MLflow does not show it yet, or its spec
    changed since.

    An object without a condition that can be read has no such time.
    """
    status = obj.get("status") or {}
    if not ended(obj) or status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return None
    conditions = status.get("conditions") or []
    if any(one.get("type") == CONDITION and one.get("status") != "True" for one in conditions):
        return None
    try:
        times = [from_rfc3339(str(one["lastTransitionTime"])) for one in conditions]
    except (KeyError, ValueError, OverflowError):
        return None
    return max(times) + SETTLED if times else None


def ever_approved(obj: Mapping[str, Any]) -> bool:
    """Tell whether a release was ever approved or overridden: such a one is never deleted. The chart's rule
    `tunegate-retention` says the same."""
    status = obj.get("status") or {}
    granted = (status.get("override") or {}).get("grantedTime")
    return obj["kind"] == "ModelRelease" and bool(
        status.get("approvedTime") or granted or status.get("phase") in MAY_SERVE
    )


def expiration_time(obj: Mapping[str, Any]) -> datetime | None:
    """Return when the time to live of an ended job is over; None: it has none."""
    seconds, end = (
        (obj.get("spec") or {}).get("ttlSecondsAfterFinished"),
        (obj.get("status") or {}).get("completionTime"),
    )
    if seconds is None or end is None:
        return None
    try:
        return from_rfc3339(str(end)) + timedelta(seconds=int(seconds))
    except (ValueError, OverflowError):
        return None
