"""`route add|remove`: the names under which a server answers, changed by a serving operator."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from pydantic import TypeAdapter, ValidationError

from tunegate.api.modelrelease import MAY_SERVE, ModelRelease
from tunegate.api.modelserver import ModelName, ModelServer
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.failure import Changed, CommandFailure, WrongUsage
from tunegate.cli.nearest import nearest
from tunegate.cli.reference import needed

Change = Callable[[list[Json]], list[Json]]
NAME: TypeAdapter[str] = TypeAdapter(ModelName)


def add(cluster: Cluster, options: Namespace) -> int:
    """Add a route, and say what will answer under it."""
    name, namespace = options.name, options.namespace or cluster.namespace
    try:
        NAME.validate_python(name)
    except ValidationError:
        raise WrongUsage(
            f"{name!r}: a route has at most 64 letters, digits, dots, hyphens and underscores, a letter or digit first and last"
        ) from None
    if name == BASE_SERVED_NAME:
        raise WrongUsage(f"{BASE_SERVED_NAME} is the name of every server's base model; choose another")
    route: Json = {"name": name, "track": "Latest"}
    if options.release:
        release = needed(cluster, ModelRelease, options.release, namespace)
        if release.spec.model_name != name:
            raise CommandFailure(
                f"release {release.name} asks for the model name {release.spec.model_name}: only a route of that name leads to it"
            )
        route = {"name": name, "track": "Pinned", "releaseRef": {"name": release.name}}

    def added(routes: list[Json]) -> list[Json]:
        if any(one["name"] == name for one in routes):
            raise CommandFailure(
                f"server/{options.subject.name} has a route {name} already; remove it first to change it"
            )
        return [*routes, route]

    _change(cluster, options, added)
    print(f"server/{options.subject.name} has the route {name}; {_next(cluster, name, namespace, options.release)}")
    return 0


def remove(cluster: Cluster, options: Namespace) -> int:
    """Take a route away; its release stays approved."""
    name = options.name

    def removed(routes: list[Json]) -> list[Json]:
        kept = [one for one in routes if one["name"] != name]
        if len(kept) == len(routes):
            there = [str(one["name"]) for one in routes]
            close = nearest(name, there)
            hint = f"did you mean {close}?" if close else f"its routes are {', '.join(there) or '(none)'}"
            raise CommandFailure(f"server/{options.subject.name} has no route {name}; {hint}")
        return kept

    _change(cluster, options, removed)
    print(
        f"server/{options.subject.name} has no route {name} any more: within seconds clients that ask for it get 404 "
        "model_not_found. Its release stays approved; to stop a release for good: tunegate revoke release/NAME"
    )
    return 0


def _change(cluster: Cluster, options: Namespace, change: Change) -> None:
    """Write the routes if the server is still as it was read. Raises ``CommandFailure`` where somebody else was faster."""
    name, namespace = options.subject.name, options.namespace or cluster.namespace
    server = needed(cluster, ModelServer, name, namespace)
    routes = change([one.to_dict() for one in server.spec.routes])
    known = {key: server.metadata[key] for key in ("uid", "resourceVersion")}
    try:
        cluster.patch(ModelServer, name, namespace, {"metadata": known, "spec": {"routes": routes}})
    except Changed as error:
        raise Changed(f"somebody changed server/{name} at the same time: nothing was written, try again") from error


def _next(cluster: Cluster, name: str, namespace: str, pinned: str | None) -> str:
    """Return what will answer under a new route."""
    releases: list[ModelRelease] | None = readable(cluster.all, ModelRelease, namespace)
    if releases is None:
        return "who answers: tunegate get servers"
    fitting = [one for one in releases if one.spec.model_name == name and pinned in (None, one.name)]
    ready = [one for one in fitting if one.status.phase in MAY_SERVE]
    if ready:
        newest = max(ready, key=lambda one: one.status.approved_time or "")
        return f"release {newest.name} answers under it once a pod holds its adapter: tunegate get servers"
    if fitting:
        standing = ", ".join(f"{one.name} is {one.status.phase}" for one in fitting[:3])
        return f"nothing answers under it before an approval: {standing}"
    return f"nothing answers under it before a release with --model {name} is approved"
