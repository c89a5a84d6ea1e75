"""Which release answers copies of a route's requests, and what is told of it. Pure.

Requests carry data of the class that the answering releases were trained on and approved for. So a copy goes to a release of the
same class only: its reviewers agreed to that class, and to no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunegate.api.conditions import rfc3339
from tunegate.api.latency import quantile
from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.modelserver import ServedAdapter
from tunegate.api.numbers import plain
from tunegate.api.routes import Shadow, ShadowStatus
from tunegate.api.serving import GatewayStatus, OpenRoute, OpenShadow, OpenTarget
from tunegate.reconcile.modelserver.canary import MEASURED_SECONDS
from tunegate.reconcile.modelserver.observed import Candidate


@dataclass(frozen=True)
class ShadowChoice:
    """The adapter that shall answer copies, or why none does."""

    asked: Shadow
    opened: OpenShadow | None = None
    reason: str = ""


def choose(
    shadow: Shadow,
    model: str,
    candidates: Sequence[Candidate],
    states: Mapping[str, ServedAdapter],
    targets: Sequence[OpenTarget],
    before: OpenRoute,
) -> ShadowChoice:
    """Return what shall answer copies of the requests for ``model``, which ``targets`` answer."""
    name = shadow.release_ref.name
    candidate = next((one for one in candidates if one.release.name == name), None)
    if candidate is None or candidate.release.spec.model_name != model:
        return ShadowChoice(shadow, reason=f"release {name} is not approved, or not for model name {model}")
    served = candidate.served_name
    answering = {one.served_name for one in targets}
    if not targets:
        return ShadowChoice(shadow, reason="nothing answers that could be copied")
    if served in answering:
        return ShadowChoice(shadow, reason=f"release {name} answers itself")
    was_open = before.shadow is not None and before.shadow.served_name == served
    classes = {one.data_class for one in candidates if one.served_name in answering}
    others = ", ".join(sorted(classes - {"", candidate.data_class}))
    if candidate.data_class and others:
        return ShadowChoice(
            shadow, reason=f"release {name} is for data of class {candidate.data_class}, what answers for {others}"
        )
    # What was compared once stays so while the registry is away: this shadow with those that answered beside it, and no other.
    compared = was_open and answering <= before.weights.keys()
    if not compared and (not candidate.data_class or "" in classes):
        return ShadowChoice(shadow, reason="the registry cannot be read now (needed for the classes of data)")
    state = states[served].state if served in states else "Loading"
    if state != "Ready" and not (state == "Loading" and was_open):
        return ShadowChoice(shadow, reason=f"{served} is {state}")
    return ShadowChoice(shadow, OpenShadow(served_name=served, percent=shadow.percent))


def told(
    route: str, choice: ShadowChoice, before: ShadowStatus | None, gateways: Mapping[str, GatewayStatus], now: datetime
) -> ShadowStatus:
    """Return the shadow for the status; numbers stay for a minute, since each change of them is a write."""
    served = choice.opened.served_name if choice.opened is not None else None
    said: dict[str, Any] = {
        "release_ref": choice.asked.release_ref, "served_name": served, "state": "Open" if served else "Closed",
        "reason": choice.reason[:TEXT_CHARACTERS],
    }  # fmt: skip
    if before is not None and before.served_name == served and not _due(before, now):
        return before.model_copy(update=said)
    if served is None:
        return ShadowStatus.model_validate(said)
    found = [
        one for status in gateways.values() for one in status.traffic
        if one.shadow and (one.route, one.served_name) == (route, served)
    ]  # fmt: skip
    seconds: dict[int, int] = {}
    for one in found:
        for number, count in one.seconds.items():
            seconds[number] = seconds.get(number, 0) + count
    latency = quantile(seconds, 0.95)
    copies, errors = sum(one.requests for one in found), sum(one.errors for one in found)
    return ShadowStatus(
        **said, measured_time=rfc3339(now), copies=copies, errors=errors, latency="" if latency is None else plain(latency),
        tokens=plain(sum(one.tokens for one in found) / (copies - errors)) if copies > errors else "",
        compared=sum(one.compared for one in found), agreed=sum(one.agreed for one in found),
    )  # fmt: skip


def _due(before: ShadowStatus, now: datetime) -> bool:
    if before.served_name is None or before.measured_time is None:
        return False
    return (now - datetime.fromisoformat(before.measured_time)).total_seconds() >= MEASURED_SECONDS
