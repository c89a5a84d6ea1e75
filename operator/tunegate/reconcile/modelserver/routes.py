"""Which release answers under which public name. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.modelserver import ServedAdapter
from tunegate.api.routes import Canary, Route, RouteStatus, Target, TargetStatus
from tunegate.api.serving import OpenRoute, OpenTarget, RoutesDocument
from tunegate.api.shared import NamedRef
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.reconcile.modelserver import canary as steps
from tunegate.reconcile.modelserver import shadows
from tunegate.reconcile.modelserver.observed import Candidate, Observed
from tunegate.reconcile.modelserver.shadows import ShadowChoice

KEPT = "kept: no pod reports it ready at this moment"
NOT_HELD = "no ready pod holds the adapter now"
CLOSING = ("RouteClosed", "ShadowClosed", "RouteWentBack")
"""Records of what is closed already: none of them waits behind a record that may be held back."""


@dataclass(frozen=True)
class RouteChoice:
    """One route: the releases that shall answer, or why none does."""

    name: str
    targets: tuple[OpenTarget, ...] = ()
    reason: str = ""
    canary: Canary | None = None
    shadow: ShadowChoice | None = None

    def status(self, held: Collection[str], why_not: Mapping[str, str]) -> RouteStatus:
        """Return the route's status.

        ``held``: served names of the adapters that some ready pod holds; ``why_not``: why it does not hold others.
        """
        told = [
            TargetStatus(served_name=one.served_name, release_ref=NamedRef(name=one.release), weight=one.weight)
            for one in self.targets
        ]
        missing = {one.served_name: why_not.get(one.served_name, NOT_HELD) for one in self.targets}
        missing = {name: why for name, why in missing.items() if name not in held}
        state: Literal["Open", "Closed"] = "Open" if len(missing) < len(told) else "Closed"
        reasons = [self.reason] if self.reason and (state == "Open" or not told) else []
        reasons += list(dict.fromkeys(missing.values()))
        return RouteStatus(name=self.name, state=state, targets=told, reason="; ".join(reasons)[:TEXT_CHARACTERS])


def narrowed(seen: Observed, now: datetime) -> RoutesDocument | None:
    """Return the routes without what releases and server no longer let stand, or None when all may stand.

    Gone are targets whose release may not answer any more, routes that nothing is left of or that nothing in `spec.routes` can
    open, and groups of clients and an identity provider that the spec no longer names. This needs neither registry nor ledger nor pods: it is written before anything else is
    looked at. Where the live routes are not ours all are closed, until the next step has looked at everything.
    """
    live, server = seen.routes, seen.server.spec
    if seen.routes_forged:
        return RoutesDocument(revision=int(now.timestamp()), names=_names(seen))
    if live is None:
        return None
    possible = {route.name for route in server.routes if candidates_of(route, seen.candidates)}
    left = {name: route.only(seen.allowed) for name, route in live.routes.items() if name in possible}
    kept = {name: route for name, route in left.items() if route.targets}
    approved = [name for name in live.approved if name in seen.allowed]
    document = live.model_copy(
        update={
            "routes": kept,
            "approved": approved,
            "kubernetes_groups": [one for one in live.kubernetes_groups if one in server.clients.kubernetes_groups],
            "oidc": live.oidc if live.oidc == server.clients.oidc else None,
            "revision": live.revision + ((kept, approved) != (live.routes, live.approved)),
        }
    )
    return None if document == live else document


def closed(seen: Observed, document: RoutesDocument) -> RoutesDocument | None:
    """Return the live routes without the routes and targets that ``document`` lacks, or None when it lacks none.

    So what closes is written before what opens, which waits for the ledger. A route that moves from one release to another
    keeps the old one until the new one may open, and the last step of a canary is a move.
    """
    live = seen.routes
    if live is None:
        return None
    kept: dict[str, OpenRoute] = {}
    for name, route in live.routes.items():
        if name not in document.routes:
            continue
        after = document.routes[name]
        shadow = route.shadow if after.shadow is not None and after.shadow == route.shadow else None
        left = route.only(after.weights)
        if not left.targets or _completes(route, after):
            left = route
        elif after.canary is not None and after.canary.state == "WentBack":
            left = left.model_copy(update={"canary": after.canary})
        kept[name] = left.model_copy(update={"shadow": shadow})
    if kept == live.routes:
        return None
    return live.model_copy(update={"routes": kept, "revision": live.revision + 1})


def _completes(live: OpenRoute, after: OpenRoute) -> bool:
    """Tell whether a canary's newer release gets all clients."""
    canary = live.canary
    return canary is not None and canary.state == "Stepping" and [*after.weights] == [canary.candidate]


def choose(seen: Observed, adapters: Sequence[ServedAdapter], now: datetime) -> list[RouteChoice]:
    """Return what each route of the spec shall answer with."""
    states = {adapter.served_name: adapter for adapter in adapters}
    choices = []
    for route in seen.server.spec.routes:
        choice = _choose(seen, route, states, now)
        if route.shadow is not None:
            before = _before(seen, route.name)
            shadow = shadows.choose(route.shadow, route.name, seen.candidates, states, choice.targets, before)
            choice = replace(choice, shadow=shadow)
        choices.append(choice)
    return choices


def _choose(seen: Observed, route: Route, states: Mapping[str, ServedAdapter], now: datetime) -> RouteChoice:
    if route.name == BASE_SERVED_NAME:
        return RouteChoice(route.name, reason="this name belongs to the base model: choose another")
    fitting, before = candidates_of(route, seen.candidates), _before(seen, route.name)
    if route.targets is not None:
        return _pinned(route.name, route.targets, fitting, states, before.only(seen.allowed))
    if not fitting:
        return RouteChoice(route.name, reason=f"no approved release with model name {route.name}")
    ready = [candidate for candidate in fitting if _state(states, candidate) == "Ready"]
    loading = {candidate.served_name for candidate in fitting if _state(states, candidate) == "Loading"}
    if (not ready or _moving(route, before, loading)) and (kept := before.only(_names_of(ready) | loading)).targets:
        return RouteChoice(route.name, tuple(kept.targets), KEPT, before.canary)
    if not ready:
        return RouteChoice(route.name, reason=_why_not(states, fitting[0]))
    newer = fitting[: fitting.index(ready[0])]
    note = f"{newer[0].served_name} is newer and {_state(states, newer[0])}" if newer else ""
    return _latest(seen, route, ready, before, note, now)


def _latest(
    seen: Observed, route: Route, ready: Sequence[Candidate], before: OpenRoute, note: str, now: datetime
) -> RouteChoice:
    """Return the choice of a route that follows approvals: the newest release, or the way to it."""
    plan, canary = route.canary, before.canary
    stable = next((one for one in ready if one.served_name == _stable(before)), None)
    refused = canary.candidate if canary is not None and canary.state == "WentBack" else None
    if plan is None or stable is None:
        # Nothing to compare with. What the route went back from answers only if nothing else may.
        newest = next((one for one in ready if plan is None or one.served_name != refused), ready[0])
        kept = canary.model_copy(update={"stable": newest.served_name}) if canary and plan and refused else None
        kept = kept if newest.served_name != refused else None
        return RouteChoice(route.name, (_target(newest, 100),), note, kept)
    newest = ready[0]
    if newest.served_name == stable.served_name:
        kept = canary if canary is not None and refused in seen.allowed else None
        return RouteChoice(route.name, (_target(stable, 100),), note, kept)
    going = canary is not None and (canary.state, canary.candidate, canary.stable) == (
        "Stepping", newest.served_name, stable.served_name,
    )  # fmt: skip
    if going and canary is not None:
        move = steps.go_on(plan, canary, steps.counted(seen.gateways, route.name, canary), now)
    else:
        move = steps.begin(plan, stable.served_name, newest.served_name, canary, now)
    shares = (_target(stable, 100 - move.weight), _target(newest, move.weight))
    return RouteChoice(route.name, tuple(one for one in shares if one.weight), move.note or note, move.canary)


def _before(seen: Observed, name: str) -> OpenRoute:
    """Return what the route answered with: by the live document or, where that is gone or was closed, by the status."""
    if seen.routes is not None and name in seen.routes.routes:
        return seen.routes.routes[name]
    told = next((one for one in seen.server.status.routes if one.name == name), None)
    if told is None:
        return OpenRoute()
    targets = [
        OpenTarget(served_name=one.served_name, release=one.release_ref.name, weight=one.weight) for one in told.targets
    ]
    canary = Canary.model_validate(told.canary.model_dump(include=set(Canary.model_fields))) if told.canary else None
    return OpenRoute(targets=targets, canary=canary)


def _stable(before: OpenRoute) -> str | None:
    if before.canary is not None:
        return before.canary.stable
    return max(before.targets, key=lambda one: one.weight).served_name if before.targets else None


def _moving(route: Route, before: OpenRoute, loading: Collection[str]) -> bool:
    """Tell whether one of two releases between which the route moves is not reported now: then nothing moves."""
    canary = before.canary
    if route.canary is None or canary is None or canary.state != "Stepping":
        return False
    return bool({canary.stable, canary.candidate} & set(loading))


def _names_of(candidates: Sequence[Candidate]) -> set[str]:
    return {candidate.served_name for candidate in candidates}


def _pinned(
    name: str,
    targets: Sequence[Target],
    fitting: Sequence[Candidate],
    states: Mapping[str, ServedAdapter],
    current: OpenRoute,
) -> RouteChoice:
    """Return the choice of a route whose releases and weights are named: those of them that may answer and are held."""
    found: list[OpenTarget] = []
    reasons: list[str] = []
    loading = False
    for target in targets:
        candidate = next((one for one in fitting if one.release.name == target.release_ref.name), None)
        if candidate is None:
            reasons.append(f"release {target.release_ref.name} is not approved, or not for model name {name}")
        elif (state := _state(states, candidate)) == "Ready" or (
            state == "Loading" and candidate.served_name in current.weights
        ):
            found.append(_target(candidate, target.weight))
            reasons += [KEPT] if state == "Loading" else []
        else:
            reasons.append(_why_not(states, candidate))
            loading = loading or state in ("Loading", "Waiting")
    open_ = tuple(one for one in found if one.weight)
    if loading and not open_ and current.targets:
        return RouteChoice(
            name, tuple(current.targets), f"kept until one that is named is loaded: {'; '.join(reasons)}"
        )
    if found and not open_:
        reasons.append("what is left of its targets has weight 0")
    return RouteChoice(name, open_, "; ".join(dict.fromkeys(reasons)))


def _target(candidate: Candidate, weight: int) -> OpenTarget:
    return OpenTarget(served_name=candidate.served_name, release=candidate.release.name, weight=weight)


def _why_not(states: Mapping[str, ServedAdapter], candidate: Candidate) -> str:
    found = states.get(candidate.served_name)
    why = f"{candidate.served_name} is {found.state if found else 'not rolled out yet'}"
    return f"{why}: {found.reason}" if found and found.reason else why


def next_of(route: Route, candidates: Sequence[Candidate]) -> set[str]:
    """Return the served names that a route needs held next: those it names, else the newest, and its shadow."""
    shadow = route.shadow.release_ref.name if route.shadow is not None else None
    return newest_of(route, candidates) | {one.served_name for one in candidates if one.release.name == shadow}


def newest_of(route: Route, candidates: Sequence[Candidate]) -> set[str]:
    """Return the served names that shall answer a route next: those it names, else the newest."""
    fitting = candidates_of(route, candidates)
    return _names_of(fitting if route.targets is not None else fitting[:1])


def candidates_of(route: Route, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the releases that the route may answer with, the newest first."""
    if route.name == BASE_SERVED_NAME:
        return []
    fitting = [candidate for candidate in candidates if candidate.release.spec.model_name == route.name]
    if route.targets is not None:
        named = {target.release_ref.name for target in route.targets if target.weight}
        fitting = [candidate for candidate in fitting if candidate.release.name in named]
    return sorted(fitting, key=lambda one: one.age, reverse=True)


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
    routes = {
        choice.name: OpenRoute(
            targets=list(choice.targets),
            canary=choice.canary,
            shadow=choice.shadow.opened if choice.shadow is not None else None,
        )
        for choice in choices
        if choice.targets
    }
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
    told = {route.name: frozenset(route.served_names) for route in seen.server.status.routes}
    found: list[AuditEntry] = []
    for name in sorted({*told, *live.routes, *document.routes}):
        present = live.routes.get(name, OpenRoute()).weights
        after = document.routes.get(name, OpenRoute()).weights
        for served in sorted(told.get(name, frozenset()) - present.keys()):
            found.append(_entry(seen, "RouteClosed", name, served, live.revision))
        for served in sorted(present.keys() - after.keys()):
            found.append(_entry(seen, "RouteClosed", name, served, document.revision))
        for served, weight in after.items():
            if served not in present:
                found.append(_entry(seen, "RouteOpened", name, served, document.revision, weight))
            elif weight != present[served]:
                found.append(_entry(seen, "RouteWeightChanged", name, served, document.revision, weight))
        found += _went_back(seen, name, document)
        found += _shadows(seen, name, live, document)
    return tuple(found)


def _shadows(seen: Observed, name: str, live: RoutesDocument, document: RoutesDocument) -> list[AuditEntry]:
    """Return the entries of a release that begins or ends to answer copies."""
    told = next((one.shadow for one in seen.server.status.routes if one.name == name), None)
    before = told.served_name if told is not None else None
    present, after = (one.routes[name].shadow if name in one.routes else None for one in (live, document))
    names = [one.served_name if one is not None else None for one in (present, after)]
    found = []
    if before is not None and before != names[0]:
        found.append(_entry(seen, "ShadowClosed", name, before, live.revision))
    if names[0] is not None and names[0] != names[1]:
        found.append(_entry(seen, "ShadowClosed", name, names[0], document.revision))
    if after is not None and after != present:
        found.append(_entry(seen, "ShadowOpened", name, after.served_name, document.revision, after.percent))
    return found


def _went_back(seen: Observed, name: str, document: RoutesDocument) -> list[AuditEntry]:
    """Return the entry of a way back that the status does not tell yet."""
    canary = document.routes[name].canary if name in document.routes else None
    told = next((one.canary for one in seen.server.status.routes if one.name == name), None)
    if canary is None or canary.state != "WentBack":
        return []
    if told is not None and (told.state, told.window) == (canary.state, canary.window):
        return []
    server = seen.server
    payload = {
        "server": server.name, "route": name, "servedName": canary.candidate, "stable": canary.stable,
        "step": str(canary.step), "reason": canary.reason,
    }  # fmt: skip
    key = f"{server.uid}:{name}:{canary.window}"
    return [AuditEntry("RouteWentBack", OPERATOR, subject_of(seen, canary.candidate), key, payload)]


def _entry(
    seen: Observed,
    type_: Literal["RouteOpened", "RouteClosed", "RouteWeightChanged", "ShadowOpened", "ShadowClosed"],
    route: str,
    served_name: str,
    revision: int,
    weight: int | None = None,
) -> AuditEntry:
    server = seen.server
    payload = {"server": server.name, "route": route, "servedName": served_name, "revision": str(revision)}
    return AuditEntry(
        type=type_,
        actor=OPERATOR,
        subject=subject_of(seen, served_name),
        key=f"{server.uid}:{route}:{served_name}:{revision}",
        payload=payload if weight is None else {**payload, "weight": str(weight)},
    )


def subject_of(seen: Observed, served_name: str) -> AuditSubject:
    """Return the release behind a served name as an entry's subject; the server where the release is gone."""
    for release in seen.releases:
        if release.status.served_name == served_name:
            return AuditSubject("ModelRelease", release.namespace, release.name, release.uid)
    return AuditSubject("ModelServer", seen.server.namespace, seen.server.name, seen.server.uid)
