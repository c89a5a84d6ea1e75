"""Which adapter answers under which public name, in this pod, now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from tunegate.api.serving import RoutesDocument
from tunegate.api.stages import BASE_SERVED_NAME


class RouteTable:
    """Joins what the operator wants (routes, approvals) with what this pod holds (adapters whose probe passed).

    A name keeps its adapter while the one it shall move to is not held here, as long as the old one is still approved:
    so a rollout needs no moment at which all pods agree. An adapter that is no longer approved answers nothing, and
    neither does one whose time is over.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._document: RoutesDocument | None = None
        self._ready: frozenset[str] = frozenset()
        self._open: dict[str, str] = {}

    @property
    def known(self) -> bool:
        """Whether routes were ever read."""
        return self._document is not None

    @property
    def revision(self) -> int:
        """Revision of the document in force."""
        return self._document.revision if self._document else 0

    @property
    def open(self) -> dict[str, str]:
        """Public name to served name, of the routes that this pod answers now."""
        return dict(self._open)

    @property
    def groups(self) -> tuple[str, ...]:
        """Kubernetes groups whose members may ask."""
        return tuple(self._document.kubernetes_groups) if self._document else ()

    @property
    def allowed(self) -> frozenset[str]:
        """Served names that may answer now by the operator's word: approved, or overridden for a time that is not over."""
        if self._document is None:
            return frozenset()
        now = self._clock()
        over = {name for name, end in self._document.closes.items() if end <= now}
        return frozenset(self._document.approved) - over

    @property
    def answering(self) -> frozenset[str]:
        """Served names that may answer now: allowed, and held by this pod."""
        return self._ready & self.allowed

    def follow(self, document: RoutesDocument) -> None:
        """Take over what the operator wants now."""
        self._document = document
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

    def resolve(self, public: str) -> str | None:
        """Return the served name behind a public name, or None when nothing answers."""
        return BASE_SERVED_NAME if public == BASE_SERVED_NAME else self._open.get(public)

    def expected(self, public: str) -> bool:
        """Tell whether the operator has a route of that name, open here or not."""
        return self._document is not None and public in self._document.routes

    def _join(self) -> None:
        answering = self.answering
        joined: dict[str, str] = {}
        for public, target in (self._document.routes if self._document else {}).items():
            if public == BASE_SERVED_NAME:
                continue
            for candidate in (target, self._open.get(public)):
                if candidate is not None and candidate in answering:
                    joined[public] = candidate
                    break
        self._open = joined
