"""Which adapters a server's engines hold: as many as they have slots, and one more while a route moves. Pure.

A route moves to a release that is loaded already. Where live adapters fill all slots none could be loaded, and no route could ever
move: so the engine has room for one more (``places``), which nothing but a move may take.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.api.modelserver import MOST_ADAPTERS, ModelServer
from tunegate.api.numbers import count_of
from tunegate.api.reasons import ServerReason
from tunegate.reconcile.modelserver.observed import Candidate, Observed
from tunegate.reconcile.modelserver.routes import newest_of, next_of


def places(server: ModelServer) -> int:
    """Return how many adapters an engine has room for: the slots, and one for a move."""
    return min(server.spec.slots + 1, MOST_ADAPTERS)


def held_candidates(seen: Observed) -> list[Candidate]:
    """Return the candidates to hold: as many as the engines have slots, those of routes first, then the newest.

    What answers now stays until another one answers in its place: else a route would close for want of a slot.
    """
    found = fit(seen)
    usable = [one for one in found if not one.obstacle]
    live = {name for route in (seen.routes.routes.values() if seen.routes else ()) for name in route.held}
    next_ = {name for route in seen.server.spec.routes for name in next_of(route, usable)}
    moves = _moves(seen, usable)
    # What is live and on a move comes last of what is live, so that the further place is there for it.
    usable.sort(
        key=lambda one: (one.served_name not in live, one.served_name in live & moves, one.served_name not in next_)
    )
    slots = seen.server.spec.slots
    left_out = {one.served_name for one in seen.server.status.adapters if one.state == "LeftOut"}
    # What is loading for a move goes on; what turned out not to fit leaves the place to another.
    spare = sorted(
        (one for one in usable[slots:] if one.served_name in moves),
        key=lambda one: (one.served_name not in live, one.served_name in left_out, one.served_name not in seen.held),
    )
    held = usable[:slots] + spare[: places(seen.server) - slots]
    return [*held, *(one for one in found if one.obstacle)]


def fit(seen: Observed) -> list[Candidate]:
    """Return the candidates that may be held, the newest first: of doubtful ones only those that the server holds already."""
    found = [one for one in seen.candidates if not one.doubtful or one.served_name in seen.held]
    return sorted(found, key=lambda one: one.age, reverse=True)


def why_waiting(seen: Observed, served_name: str) -> str:
    """Return why an adapter is not held, and what to do."""
    count = count_of(sum(not one.obstacle for one in held_candidates(seen)), "other adapter")
    if served_name in _moves(seen, [one for one in fit(seen) if not one.obstacle]):
        return (
            f"{ServerReason.WAITING_FOR_SLOT}: the engines hold {count}, and the place for a move is taken; it is loaded when another "
            "route has moved or leads to one adapter less, or raise spec.maxCpuLoras, which restarts the engines"
        )
    return (
        f"{ServerReason.WAITING_FOR_SLOT}: the engines hold {count}, those that routes lead to and newer ones; take it up by a route, or "
        "raise spec.maxCpuLoras, which restarts the engines"
    )


def _moves(seen: Observed, usable: Sequence[Candidate]) -> set[str]:
    """Return the served names between which a route is on its way, and those by which one replaces all that it answers with."""
    found: set[str] = set()
    for route in seen.server.spec.routes:
        live = seen.routes.routes.get(route.name) if seen.routes is not None else None
        if live is None or not live.targets:
            continue  # It opens: that takes a slot for good.
        canary = live.canary
        wanted = newest_of(route, usable)
        if canary is not None and canary.state == "WentBack":
            wanted -= {canary.candidate}
        if canary is not None and canary.state == "Stepping":
            found |= {canary.stable, canary.candidate}
        elif not wanted & live.weights.keys():
            found |= wanted
    return found
