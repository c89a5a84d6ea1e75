"""`route stop|resume|pin|back|shadow`: a person stops how a route moves, goes on, pins it, goes back, or has requests copied."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime

from tunegate.api.conditions import rfc3339
from tunegate.api.modelrelease import MAY_SERVE, ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.routes import RouteStatus
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.reference import needed
from tunegate.cli.serve.route import absent, change, targets, weights


def stop(cluster: Cluster, options: Namespace) -> int:
    """Take no further step: the shares stay as they are, and a broken bound still goes back."""

    def stopped(route: Json) -> Json:
        if "canary" not in route or route["track"] != "Latest":
            raise CommandFailure(f"{_where(options)} has no steps to stop: to keep who answers now: tunegate route pin")
        return {**route, "canary": {**route["canary"], "paused": True}}

    _of_route(cluster, options, stopped)
    print(f"{_where(options)} takes no further step; go on with: tunegate route resume")
    return 0


def resume(cluster: Cluster, options: Namespace) -> int:
    """Follow approvals again, and try again what the route went back from."""
    now = rfc3339(datetime.now(UTC))

    def resumed(route: Json) -> Json:
        follows = {key: value for key, value in route.items() if key != "targets"} | {"track": "Latest"}
        if "canary" in route:
            follows["canary"] = {**route["canary"], "paused": False, "resumedAt": now}
        return follows

    _of_route(cluster, options, resumed)
    print(f"{_where(options)} follows approvals: who answers: tunegate get servers")
    return 0


def pin(cluster: Cluster, options: Namespace) -> int:
    """Keep the releases that answer now with their shares, or give the route those that are named."""
    namespace = options.namespace or cluster.namespace
    if options.release:
        named = weights(options.release)
    else:
        told = _told(needed(cluster, ModelServer, options.subject.name, namespace), options)
        if not told.targets:
            raise CommandFailure(f"nothing answers under {_where(options)} now: name a release with --release")
        named = {one.release_ref.name: one.weight for one in told.targets}
        if sum(named.values()) != 100:
            raise CommandFailure(f"{_where(options)} is changing just now: try again, or name releases with --release")
    _pin(cluster, options, named)
    return 0


def back(cluster: Cluster, options: Namespace) -> int:
    """Give the route to the release that answered before: the stable one of its steps, else the newest older approved one."""
    namespace = options.namespace or cluster.namespace
    told = _told(needed(cluster, ModelServer, options.subject.name, namespace), options)
    releases = [one for one in cluster.all(ModelRelease, namespace) if one.spec.model_name == options.name]
    able = {one.status.served_name: one for one in releases if one.status.phase in MAY_SERVE}
    if told.canary is not None:
        before = able.get(told.canary.stable)
    else:
        now = able.get(told.served_names[0]) if told.served_names else None
        older = [one for one in able.values() if now is None or _since(one) < _since(now)]
        before = max(older, key=_since, default=None)
    if before is None:
        raise CommandFailure(f"no approved release is older than what answers under {_where(options)}")
    _pin(cluster, options, {before.name: 100})
    return 0


def shadow(cluster: Cluster, options: Namespace) -> int:
    """Have an approved release answer copies of a route's requests, or none any more."""
    namespace = options.namespace or cluster.namespace
    name, _, percent = (options.release or "").partition("=")
    copied: Json = {}
    if options.release:
        if not (percent.isascii() and percent.isdigit() and 1 <= int(percent) <= 100):
            raise WrongUsage(
                f"--release {options.release}: expected a release and a percentage from 1 to 100, as {name}=10"
            )
        (found,) = targets(cluster, options.name, {name: int(percent)}, namespace)
        copied = {"shadow": {"releaseRef": found["releaseRef"], "percent": found["weight"]}}
    _of_route(cluster, options, lambda route: {key: one for key, one in route.items() if key != "shadow"} | copied)
    if copied:
        print(
            f"{_where(options)}: {name} answers copies of {percent} % of the requests; what it shows: tunegate describe"
        )
    else:
        print(f"{_where(options)}: nothing is copied any more")
    return 0


def _pin(cluster: Cluster, options: Namespace, named: dict[str, int]) -> None:
    namespace = options.namespace or cluster.namespace
    wanted = targets(cluster, options.name, named, namespace)
    _of_route(cluster, options, lambda route: {**route, "track": "Pinned", "targets": wanted})
    shares = ", ".join(f"{name} {weight} %" for name, weight in named.items())
    print(f"{_where(options)} is pinned to {shares}; to follow approvals again: tunegate route resume")


def _of_route(cluster: Cluster, options: Namespace, changed: Callable[[Json], Json]) -> None:
    """Replace one route of the server. Raises ``CommandFailure`` where it has none of that name."""

    def written(routes: list[Json]) -> list[Json]:
        if all(one["name"] != options.name for one in routes):
            raise absent(options, routes)
        return [changed(one) if one["name"] == options.name else one for one in routes]

    change(cluster, options, written)


def _told(server: ModelServer, options: Namespace) -> RouteStatus:
    found = next((one for one in server.status.routes if one.name == options.name), None)
    if found is None:
        raise absent(options, [one.to_dict() for one in server.spec.routes])
    return found


def _since(release: ModelRelease) -> tuple[str, str]:
    return release.status.approved_time or "", release.name


def _where(options: Namespace) -> str:
    return f"route {options.name} of server/{options.subject.name}"
