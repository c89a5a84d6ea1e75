"""What each release did under each public name: answers, failures, times and tokens, for the operator's judgement of a canary."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tunegate.api import serving
from tunegate.api.latency import bucket
from tunegate.api.serving import OpenRoute


@dataclass
class _Counts:
    requests: int = 0
    errors: int = 0
    tokens: int = 0
    seconds: dict[int, int] = field(default_factory=dict)
    compared: int = 0
    agreed: int = 0


@dataclass
class Asked:
    """One request that a release answers. It counts when ``end`` is called, if the step is still the one that it began in."""

    counts: _Counts | None
    begun: float = field(default_factory=time.monotonic)
    tokens: int = 0
    failed: bool = False
    """The engine did not answer, or broke off."""
    finished: bool = False
    """The client has the whole answer."""
    agrees: bool | None = None
    """Of a copy: whether it is the client's answer to the letter; None: they cannot be compared."""

    def end(self) -> None:
        """Count it: what failed and what finished, and nothing that the client broke off or asked wrongly."""
        if self.counts is None or not (self.failed or self.finished):
            return
        self.counts.requests += 1
        self.counts.tokens += self.tokens
        if self.failed:
            self.counts.errors += 1
            return
        if self.agrees is not None:
            self.counts.compared += 1
            self.counts.agreed += self.agrees
        number = bucket(time.monotonic() - self.begun)
        self.counts.seconds[number] = self.counts.seconds.get(number, 0) + 1


class TrafficCounts:
    """Counts by public name and served name, of what the route holds; they begin again with each step of its canary."""

    def __init__(self) -> None:
        self._windows: dict[str, str] = {}
        self._held: dict[str, frozenset[str]] = {}
        self._counts: dict[str, dict[tuple[str, bool], _Counts]] = {}

    def follow(self, routes: Mapping[str, OpenRoute]) -> None:
        """Begin again where a step began, and forget routes that are gone, and releases that a route has left."""
        windows = {name: route.canary.window if route.canary else "" for name, route in routes.items()}
        self._held = {name: route.held for name, route in routes.items()}
        self._counts = {
            name: {
                one: counts
                for one, counts in self._counts.get(name, {}).items()
                if self._windows.get(name) == window and one[0] in self._held[name]
            }
            for name, window in windows.items()
        }
        self._windows = windows

    def begin(self, public: str, served: str, *, shadow: bool = False) -> Asked:
        """Return what a request is counted by; what no route holds is not counted. ``shadow``: it is a copy."""
        if served not in self._held.get(public, ()):
            return Asked(None)
        return Asked(self._counts[public].setdefault((served, shadow), _Counts()))

    @property
    def told(self) -> list[serving.Traffic]:
        """What the operator is told."""
        return [
            serving.Traffic(
                route=public, served_name=served, shadow=shadow, window=self._windows[public], requests=one.requests,
                errors=one.errors, tokens=one.tokens, seconds=dict(one.seconds),
                compared=one.compared, agreed=one.agreed,
            )
            for public, counts in self._counts.items()
            for (served, shadow), one in counts.items()
        ]  # fmt: skip
