"""Which adapters answer under which public name, in this pod, now."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from tunegate.api.modelserver import ClientQuota, IdentityProvider
from tunegate.api.serving import OpenRoute, OpenShadow, RoutesDocument
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.gateway.traffic import TrafficCounts
from tunegate.gateway.weights import pick


class RouteTable:
    """Joins what the operator wants (routes, approvals) with what this pod holds (adapters whose probe passed).

    Of several targets, one that is not held here or not approved gets nothing, and the others have its share. A name keeps its
    adapters while none that it shall move to is held here, as long as the old ones are still approved: so a rollout needs no
    moment at which all pods agree. An adapter that is no longer approved answers nothing, and
    neither does one whose time is over. An adapter answers only while the operator's document is fresh: anyone who keeps a
    gateway from reading it closes all routes instead of keeping them open.
    """

    def __init__(
        self,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._document: RoutesDocument | None = None
        self._read_at = seconds()
        """When the operator's document was last read; before the first time: when the gateway began to try."""
        self.obstacle = ""
        """Why what was read is not followed."""
        self._ready: frozenset[str] = frozenset()
        self._releases: dict[str, str] = {}
        self.traffic = TrafficCounts()
        self._open: dict[str, dict[str, int]] = {}

    @property
    def known(self) -> bool:
        """Whether routes were ever read."""
        return self._document is not None

    @property
    def revision(self) -> int:
        """Revision of the document in force."""
        return self._document.revision if self._document else 0

    @property
    def open(self) -> dict[str, dict[str, int]]:
        """Public name to served names and their weights, of the routes that this pod answers now.

        It is right to the second: nobody has to close what has come to its end.
        """
        answering = self.answering
        return {public: weights for public in self._open if (weights := self._able(public, answering))}

    @property
    def open_names(self) -> frozenset[str]:
        """Served names that a route leads to now."""
        return frozenset(name for weights in self.open.values() for name in weights)

    @property
    def groups(self) -> tuple[str, ...]:
        """Kubernetes groups whose members may ask; none by a document that is too old: somebody may have been taken out since."""
        return tuple(self._document.kubernetes_groups) if self._document and not self.stale else ()

    @property
    def provider(self) -> IdentityProvider | None:
        """Whose tokens are taken beside the cluster's; nobody's by a document that is too old."""
        return self._document.oidc if self._document and not self.stale else None

    @property
    def per_client(self) -> ClientQuota:
        """What one client may ask, as last read: the base model answers even where every route is closed."""
        return self._document.per_client if self._document else ClientQuota()

    @property
    def allowed(self) -> frozenset[str]:
        """Served names that may answer now by the operator's document: approved, or overridden for a time that is not over."""
        if self._document is None or self.stale:
            return frozenset()
        now = self._clock()
        over = {name for name, end in self._document.closes.items() if end <= now}
        return frozenset(self._document.approved) - over

    @property
    def approved(self) -> frozenset[str] | None:
        """Served names that the operator's document calls approved, however old it is; None: there is no such document."""
        return None if self._document is None or self.obstacle else frozenset(self._document.approved)

    @property
    def answering(self) -> frozenset[str]:
        """Served names that may answer now: allowed, and held by this pod."""
        return self._ready & self.allowed

    @property
    def age(self) -> float:
        """Seconds since the operator's document was last read."""
        return self._seconds() - self._read_at

    @property
    def stale(self) -> bool:
        """Whether the operator's document is too old to answer by."""
        return self._document is not None and self.age > self._document.valid_seconds

    def follow(self, document: RoutesDocument) -> None:
        """Take over what the operator wants now."""
        self._document = document
        told = {one.served_name: one.release for route in document.routes.values() for one in route.targets}
        self._releases = {name: one for name, one in (self._releases | told).items() if name in document.approved}
        self.traffic.follow(document.routes)
        self._read_at = self._seconds()
        self.obstacle = ""
        self._join()

    def close(self, obstacle: str) -> None:
        """Close every route: what was read is not the operator's document for this server."""
        self._document = RoutesDocument(revision=self.revision, per_client=self.per_client)
        self._read_at = self._seconds()
        self.obstacle = obstacle
        self._join()

    def hold(self, ready: frozenset[str]) -> None:
        """Take over which adapters this pod can answer with now."""
        self._ready = ready
        self._join()

    def expire(self) -> bool:
        """Close what has come to its end; tell whether there was something."""
        before = self._open
        self._join()
        return before != self._open

    def resolve(self, public: str, key: str = "") -> str | None:
        """Return the served name behind a public name for a client's ``key``, or None when nothing answers."""
        if public == BASE_SERVED_NAME:
            return BASE_SERVED_NAME
        return pick(public, key, self._able(public, self.answering))

    @property
    def shadows(self) -> dict[str, OpenShadow]:
        """Public name to the adapter that answers copies of its requests now."""
        names = self._document.routes if self._document is not None else ()
        return {public: shadow for public in names if (shadow := self._shadow(public)) is not None}

    def shadow_of(self, public: str, answered_by: str) -> OpenShadow | None:
        """Return the adapter that answers copies of a route's requests: approved, held by this pod, and no target itself.

        ``answered_by``: the served name that the client's answer is of. The shadow is for data of the route's own targets; a release
        that the route has left may have been for another class of data.
        """
        shadow = self._shadow(public)
        return shadow if answered_by in self._route(public).weights else None

    def _route(self, public: str) -> OpenRoute:
        routes = self._document.routes if self._document is not None else {}
        return routes.get(public) or OpenRoute()

    def _shadow(self, public: str) -> OpenShadow | None:
        shadow, answering = self._route(public).shadow, self.answering
        if shadow is None or shadow.served_name not in answering or shadow.served_name in self._able(public, answering):
            return None
        return shadow

    def release_of(self, served: str) -> str:
        """Return the release behind a served name as the operator's document says it; empty: it does not."""
        return self._releases.get(served, "")

    def _able(self, public: str, answering: frozenset[str]) -> dict[str, int]:
        return {name: weight for name, weight in self._open.get(public, {}).items() if name in answering and weight}

    def may_open(self, public: str) -> bool:
        """Tell whether a name that nothing answers is a closed route: always while nobody can say which routes there are."""
        return self._document is None or bool(self.obstacle) or public in self._document.names

    def _join(self) -> None:
        answering = self.answering
        joined: dict[str, dict[str, int]] = {}
        for public, route in (self._document.routes if self._document else {}).items():
            if public == BASE_SERVED_NAME:
                continue
            for weights in (route.weights, self._open.get(public, {})):
                if able := {name: weight for name, weight in weights.items() if name in answering and weight}:
                    joined[public] = able
                    break
        self._open = joined
