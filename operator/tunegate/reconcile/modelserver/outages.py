"""What people are told when pods are replaced one after the other: which models are away, and for about how long. Pure.

Adapters come and go without that. Another base model, profile, image, pool or certificate needs new pods; with `Surge` the old ones
answer until the new ones do, with `Recreate` nobody answers in between.
"""

from __future__ import annotations

from datetime import datetime

from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.numbers import duration
from tunegate.api.reasons import ServerReason
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.manifests.rollouts import ROLLOUT_ANNOTATION
from tunegate.reconcile.modelserver.observed import Json, Observed
from tunegate.reconcile.modelserver.rollouts import Chosen
from tunegate.reconcile.plan import EventNote


def announced(seen: Observed, chosen: Chosen | None) -> tuple[EventNote, ...]:
    """Return the warning before a rollout by which models go away; nothing where none begins, or none goes away by it."""
    if chosen is None or seen.deployment is None or seen.server.spec.strategy != "Recreate":
        return ()
    annotations = seen.deployment["metadata"].get("annotations") or {}
    if annotations.get(ROLLOUT_ANNOTATION) == chosen.rollout.digest or not seen.server.spec.replicas:
        return ()
    text = f"strategy Recreate: no pod answers {_models(seen)} until new ones do{_estimate(seen)}"
    return (EventNote("Warning", ServerReason.MODELS_AWAY, text[:TEXT_CHARACTERS]),)


def going_on(seen: Observed) -> str:
    """Say which models are away because no pod answers that could; empty: none."""
    ready = ((seen.deployment or {}).get("status") or {}).get("readyReplicas")
    if ready or not seen.server.spec.replicas or not (seen.routes and seen.routes.routes):
        return ""
    return f"{_models(seen)} are away until a pod answers"


def _models(seen: Observed) -> str:
    return ", ".join([*sorted(seen.routes.routes if seen.routes else ()), BASE_SERVED_NAME])


def _estimate(seen: Observed) -> str:
    """Say how long the present pods took from their creation until they answered, if any of them says so."""
    took = [seconds for pod in seen.pods if (seconds := _start_seconds(pod)) is not None]
    return f", about {duration(max(took))} by the last start" if took else ""


def _start_seconds(pod: Json) -> float | None:
    created = pod["metadata"].get("creationTimestamp")
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") == "True" and created:
            since = datetime.fromisoformat(condition["lastTransitionTime"]) - datetime.fromisoformat(created)
            return max(since.total_seconds(), 0.0)
    return None
