"""Whether what was closed is closed: every gateway that could answer it has to say so. Pure.

Writing the routes closes nothing by itself: a gateway that is kept from reading them, or that does not work, goes on. So each
pod that holds an adapter whose release may not answer any more is asked, until it has read the routes that close it and says that
none leads there. One that still answers, or goes by older routes, or cannot be asked for longer than it may trust old routes, is deleted: its successor is never told to hold the
adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunegate.api.conditions import Condition, rfc3339, set_condition
from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.modelserver import Closing
from tunegate.api.reasons import ServerReason
from tunegate.api.serving import GatewayStatus
from tunegate.kube.references import ObjectRef
from tunegate.ledger.entry import OPERATOR, AuditEntry
from tunegate.manifests.serving import GATEWAY_CONTAINER
from tunegate.reconcile.modelserver.observed import Json, Observed
from tunegate.reconcile.modelserver.routes import subject_of
from tunegate.reconcile.plan import EventNote

CONDITION = "RevocationConfirmed"
ANSWERS_SECONDS = 10.0
"""A gateway that still answers after so long, or goes by older routes, does not follow them: it hears of a change within a second."""
SILENT_SECONDS = 30.0
"""A gateway that cannot be asked is left so much more time than it may trust routes that it cannot read."""
LOOK_AGAIN = 2.0


@dataclass(frozen=True)
class Confirmed:
    """What is known of everything that may not answer any more."""

    closings: tuple[Closing, ...] = ()
    stops: tuple[ObjectRef, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    events: tuple[EventNote, ...] = ()

    @property
    def waiting(self) -> str:
        """Which pods have not confirmed what, for people; empty: all have."""
        found = [f"{one.served_name}: {', '.join(one.pods)}" for one in self.closings if one.pods]
        return "; ".join(found)


def confirm(seen: Observed, now: datetime) -> Confirmed:
    """Return how far closing is, and which pods have to go."""
    before = {one.served_name: one for one in (*seen.closings, *seen.server.status.closings)}
    pods = {str(pod["metadata"]["name"]): pod for pod in seen.pods if _gateway_runs(pod)}
    names = sorted({name for pod in pods for name in _may_answer(seen, pod)} - seen.allowed | set(before))
    closings: list[Closing] = []
    stops: dict[str, ObjectRef] = {}
    audit: list[AuditEntry] = []
    events: list[EventNote] = []
    for name in names:
        if name in seen.allowed:
            continue
        old = before.get(name)
        closing = _look(seen, name, old, pods, now)
        for pod, why in _to_stop(seen, closing, pods, now):
            metadata = pods[pod]["metadata"]
            stops[pod] = ObjectRef("v1", "Pod", pod, seen.server.namespace, str(metadata.get("uid", "")))
            audit.append(_stopped(seen, name, pod, str(metadata.get("uid", pod)), why))
            text = f"pod {pod} is deleted: {name} may not answer any more, and the pod {why}"
            events.append(EventNote("Warning", ServerReason.SERVING_POD_DELETED, text))
        if not closing.pods and (old is None or old.pods):
            audit.append(_confirmed(seen, closing, old))
        if closing.pods or (closing.confirmed and (old is None or old.pods or _holds(seen, closing))):
            closings.append(closing)
    return Confirmed(tuple(closings[:64]), tuple(stops.values()), tuple(audit), tuple(events))


def _look(seen: Observed, name: str, old: Closing | None, pods: Mapping[str, Json], now: datetime) -> Closing:
    """Return how far closing is. A pod that was waited for is, until it says that it closed or is gone."""
    known = set(old.confirmed) if old else set()
    awaited = known | set(old.pods if old else ())
    waiting: list[str] = []
    confirmed: list[str] = []
    for pod in sorted(pods):
        if pod not in awaited and name not in _may_answer(seen, pod):
            continue
        status = seen.gateways.get(pod)
        closed = pod in known if status is None else _has_read(seen, status, name) and name not in _open(status)
        (confirmed if closed else waiting).append(pod)
    return Closing(
        served_name=name, start_time=old.start_time if old else rfc3339(now), pods=waiting, confirmed=confirmed
    )


def _has_read(seen: Observed, status: GatewayStatus, name: str) -> bool:
    """Tell whether a gateway goes by routes that do not allow a release: one whose engine is away answers nothing by any routes.

    Revision 0 is a gateway that never read routes: the first ones that it reads are those in force.
    """
    live = seen.routes
    if live is None:
        return True
    return name not in live.approved and not 0 < status.routes_revision < live.revision


def _may_answer(seen: Observed, pod: str) -> frozenset[str]:
    """Return the served names that a pod could answer with: those it says, or, where it says nothing, those it may have heard of."""
    status = seen.gateways.get(pod)
    if status is None:
        return seen.listed | seen.held
    return _open(status) | {one.served_name for one in status.adapters}


def _holds(seen: Observed, closing: Closing) -> bool:
    """Tell whether a pod that closed it has it in its engine still, as far as is known."""
    told = [seen.gateways.get(pod) for pod in closing.confirmed]
    return any(one is None or closing.served_name in {held.served_name for held in one.adapters} for one in told)


def _open(status: GatewayStatus) -> frozenset[str]:
    """Return the served names that a route of the gateway leads to, also with copies."""
    return frozenset(name for weights in status.routes.values() for name in weights) | {*status.shadows.values()}


def _gateway_runs(pod: Json) -> bool:
    """Tell whether the pod's gateway runs: before it reads its routes it answers nothing."""
    status = pod.get("status") or {}
    states = {one["name"]: one.get("state") or {} for one in status.get("containerStatuses") or []}
    running = status.get("phase") == "Running"
    return running and (GATEWAY_CONTAINER not in states or "running" in states[GATEWAY_CONTAINER])


def _to_stop(seen: Observed, closing: Closing, pods: Mapping[str, Json], now: datetime) -> Iterator[tuple[str, str]]:
    """Return the pods that had their time, and why they have to go."""
    for name in closing.pods:
        metadata: Mapping[str, Any] = pods[name]["metadata"]
        if metadata.get("deletionGracePeriodSeconds", ANSWERS_SECONDS) < ANSWERS_SECONDS:
            continue
        begins = max(closing.start_time, str(metadata.get("creationTimestamp") or ""))
        waited = (now - datetime.fromisoformat(begins)).total_seconds()
        if (status := seen.gateways.get(name)) is not None:
            if waited >= ANSWERS_SECONDS:
                answers = closing.served_name in _open(status)
                what = "still answers with it" if answers else "has not read the routes that close it"
                yield name, f"{what} after {waited:.0f} seconds"
        elif waited >= seen.close_after_seconds + SILENT_SECONDS:
            yield name, f"could not be asked for {waited:.0f} seconds"


def _stopped(seen: Observed, served: str, pod: str, uid: str, why: str) -> AuditEntry:
    server = seen.server.name
    payload = {"server": server, "servedName": served, "pod": pod, "reason": why}
    return AuditEntry("ServingPodDeleted", OPERATOR, subject_of(seen, served), f"{uid}:{served}", payload)


def _confirmed(seen: Observed, closing: Closing, old: Closing | None) -> AuditEntry:
    server, served = seen.server, closing.served_name
    gone = sorted(set(old.pods if old else ()) - set(closing.confirmed))
    payload = {"server": server.name, "servedName": served, "startTime": closing.start_time}
    if closing.confirmed:
        payload["pods"] = ", ".join(closing.confirmed)[:TEXT_CHARACTERS]
    if gone:
        payload["podsGone"] = ", ".join(gone)[:TEXT_CHARACTERS]
    revision = seen.routes.revision if seen.routes else 0
    key = f"{server.uid}:{served}:{revision}"
    return AuditEntry("RevocationConfirmed", OPERATOR, subject_of(seen, served), key, payload)


def with_condition(
    conditions: list[Condition], confirmed: Confirmed, generation: int, now: datetime
) -> list[Condition]:
    """Return the conditions with the one that says whether closing is confirmed, while there is something to confirm."""
    if not confirmed.closings:
        return [one for one in conditions if one.type != CONDITION]
    text = "every gateway that holds it has closed what may not answer any more"
    if confirmed.waiting:
        text = f"not confirmed to be closed, by served name and pod: {confirmed.waiting}"
    condition = Condition(
        type=CONDITION,
        status="False" if confirmed.waiting else "True",
        reason=(
            ServerReason.REVOCATION_NOT_CONFIRMED if confirmed.waiting else ServerReason.REVOCATION_CONFIRMED
        ).value,
        message=text[:TEXT_CHARACTERS],
        last_transition_time=rfc3339(now),
        observed_generation=generation,
    )
    return set_condition(conditions, condition)
