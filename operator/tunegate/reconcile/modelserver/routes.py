"""Which release answers under which public name. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.modelserver import Route, RouteStatus, ServedAdapter
from tunegate.api.serving import RoutesDocument
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.reconcile.modelserver.observed import Candidate, Observed


@dataclass(frozen=True)
class RouteChoice:
    """One route: the served name that shall answer, or why none does."""

    name: str
    served_name: str | None
    reason: str = ""

    def status(self, answering: bool, why_not: str) -> RouteStatus:
        """Return the route's status; ``answering``: some ready pod holds the adapter, else ``why_not`` says why none."""
        if self.served_name is None:
            return RouteStatus(name=self.name, state="Closed", reason=self.reason[:TEXT_CHARACTERS])
        state: Literal["Open", "Closed"] = "Open" if answering else "Closed"
        reason = self.reason if answering else why_not
        return RouteStatus(name=self.name, state=state, served_name=self.served_name, reason=reason[:TEXT_CHARACTERS])


def narrowed(seen: Observed, now: datetime) -> RoutesDocument | None:
    """Return the routes without what releases and server no longer let stand, or None when all may stand.

    Gone are routes whose release may not answer any more or that nothing in `spec.routes` can open, and groups of clients
    and an identity provider that the spec no longer names. This needs neither registry nor ledger nor pods: it is written before anything else is
    looked at. Where the live routes are not ours all are closed, until the next step has looked at everything.
    """
    live, server = seen.routes, seen.server.spec
    if seen.routes_forged:
        return RoutesDocument(revision=int(now.timestamp()), names=_names(seen))
    if live is None:
        return None
    possible = {route.name for route in server.routes if candidates_of(route, seen.candidates)}
    kept = {name: served for name, served in live.routes.items() if served in seen.allowed and name in possible}
    document = live.model_copy(
        update={
            "routes": kept,
            "approved": [name for name in live.approved if name in seen.allowed],
            "kubernetes_groups": [one for one in live.kubernetes_groups if one in server.clients.kubernetes_groups],
            "oidc": live.oidc if live.oidc == server.clients.oidc else None,
            "revision": live.revision + (kept != live.routes),
        }
    )
    return None if document == live else document


def closed(seen: Observed, document: RoutesDocument) -> RoutesDocument | None:
    """Return the live routes without those that ``document`` lacks, or None when it lacks none.

    So what closes is written before what opens, which waits for the ledger.
    """
    live = seen.routes
    if live is None or document.routes.keys() >= live.routes.keys():
        return None
    kept = {name: served for name, served in live.routes.items() if name in document.routes}
    return live.model_copy(update={"routes": kept, "revision": live.revision + 1})


def choose(seen: Observed, adapters: Sequence[ServedAdapter]) -> list[RouteChoice]:
    """Return what each route of the spec shall answer with."""
    states = {adapter.served_name: adapter for adapter in adapters}
    current = seen.routes.routes if seen.routes else {}
    return [_choose(route, seen.candidates, states, current.get(route.name)) for route in seen.server.spec.routes]


def _choose(
    route: Route, candidates: Sequence[Candidate], states: Mapping[str, ServedAdapter], current: str | None
) -> RouteChoice:
    if route.name == BASE_SERVED_NAME:
        return RouteChoice(route.name, None, "this name belongs to the base model: choose another")
    fitting = candidates_of(route, candidates)
    if not fitting:
        missing = f"no approved release with model name {route.name}"
        if route.track == "Pinned":
            missing = f"release {_pinned(route)} is not approved, or not for model name {route.name}"
        return RouteChoice(route.name, None, missing)
    ready = [candidate for candidate in fitting if _state(states, candidate) == "Ready"]
    if ready:
        newer = fitting[: fitting.index(ready[0])]
        note = f"{newer[0].served_name} is newer and {_state(states, newer[0])}" if newer else ""
        return RouteChoice(route.name, ready[0].served_name, note)
    if current in {candidate.served_name for candidate in fitting if _state(states, candidate) == "Loading"}:
        return RouteChoice(route.name, current, "kept: no pod reports it ready at this moment")
    newest = states.get(fitting[0].served_name)
    why = f"{fitting[0].served_name} is {newest.state if newest else 'not rolled out yet'}"
    return RouteChoice(route.name, None, f"{why}: {newest.reason}" if newest and newest.reason else why)


def candidates_of(route: Route, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the releases that the route may answer with, the newest first."""
    if route.name == BASE_SERVED_NAME:
        return []
    fitting = [candidate for candidate in candidates if candidate.release.spec.model_name == route.name]
    if route.track == "Pinned":
        fitting = [candidate for candidate in fitting if candidate.release.name == _pinned(route)]
    return sorted(fitting, key=lambda one: one.age, reverse=True)


def _pinned(route: Route) -> str:
    return route.release_ref.name if route.release_ref else ""


def _state(states: Mapping[str, ServedAdapter], candidate: Candidate) -> str:
    found = states.get(candidate.served_name)
    return found.state if found else "Loading"


def known(seen: Observed, now: datetime) -> RoutesDocument:
    """Return the live document. Where a server that has run has none any more, its revision is one that never was."""
    if seen.routes is not None:
        return seen.routes
    return RoutesDocument(revision=int(now.timestamp()) if seen.server.status.observed_generation else 0)


def wanted(seen: Observed, choices: Sequence[RouteChoice], now: datetime) -> RoutesDocument:
    """Return the document to be; its revision grows with every change of a route."""
    live = known(seen, now)
    routes = {choice.name: choice.served_name for choice in choices if choice.served_name is not None}
    return RoutesDocument(
        revision=live.revision + (routes != live.routes),
        routes=routes,
        names=_names(seen),
        approved=sorted(seen.allowed),
        closes={one.served_name: one.closes for one in seen.candidates if one.closes is not None},
        kubernetes_groups=sorted(seen.server.spec.clients.kubernetes_groups),
        oidc=seen.server.spec.clients.oidc,
        per_client=seen.server.spec.limits.per_client,
        valid_seconds=seen.close_after_seconds,
    )


def _names(seen: Observed) -> list[str]:
    return sorted(route.name for route in seen.server.spec.routes)


def entries(seen: Observed, document: RoutesDocument, now: datetime) -> tuple[AuditEntry, ...]:
    """Return what the ledger has to hold before ``document`` is written and the status says so.

    The revision is part of the key: going back to a release and forth again is three events, and a reconcile that is
    repeated after a crash finds the revision unchanged and records nothing twice.
    """
    live = known(seen, now)
    told = {route.name: route.served_name for route in seen.server.status.routes if route.served_name is not None}
    found: list[AuditEntry] = []
    for name in sorted({*told, *live.routes, *document.routes}):
        before, present, after = told.get(name), live.routes.get(name), document.routes.get(name)
        if before is not None and before != present:
            found.append(_entry(seen, "RouteClosed", name, before, live.revision))
        if present is not None and present != after:
            found.append(_entry(seen, "RouteClosed", name, present, document.revision))
        if after is not None and after != present:
            found.append(_entry(seen, "RouteOpened", name, after, document.revision))
    return tuple(found)


def _entry(seen: Observed, type_: str, route: str, served_name: str, revision: int) -> AuditEntry:
    server = seen.server
    return AuditEntry(
        type="RouteOpened" if type_ == "RouteOpened" else "RouteClosed",
        actor=OPERATOR,
        subject=subject_of(seen, served_name),
        key=f"{server.uid}:{route}:{served_name}:{revision}",
        payload={"server": server.name, "route": route, "servedName": served_name, "revision": str(revision)},
    )


def subject_of(seen: Observed, served_name: str) -> AuditSubject:
    """Return the release behind a served name as an entry's subject; the server where the release is gone."""
    for release in seen.releases:
        if release.status.served_name == served_name:
            return AuditSubject("ModelRelease", release.namespace, release.name, release.uid)
    return AuditSubject("ModelServer", seen.server.namespace, seen.server.name, seen.server.uid)
