"""`route add|remove`: the names under which a server answers, changed by a serving operator; others stop or move them."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Collection, Mapping, Sequence

from pydantic import TypeAdapter, ValidationError

from tunegate.api.modelrelease import MAY_SERVE, ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.routes import MOST_TARGETS, ModelName
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.cli import times
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
    pinned = weights(options.release) if options.release else {}
    if options.step:
        if pinned:
            raise WrongUsage("--step is for a route that follows approvals; leave out --step, or --release")
        route["canary"] = {"steps": steps(options.step)}
    if pinned:
        route = {"name": name, "track": "Pinned", "targets": targets(cluster, name, pinned, namespace)}

    def added(routes: list[Json]) -> list[Json]:
        if any(one["name"] == name for one in routes):
            raise CommandFailure(
                f"server/{options.subject.name} has a route {name} already; remove it first to change it"
            )
        return [*routes, route]

    change(cluster, options, added)
    print(f"server/{options.subject.name} has the route {name}; {_next(cluster, name, namespace, tuple(pinned))}")
    return 0


def weights(words: Sequence[str]) -> dict[str, int]:
    """Return releases and their weights from `RELEASE` or `RELEASE=PERCENT` words. Raises ``WrongUsage``."""
    found: dict[str, int] = {}
    for word in words:
        release, equals, percent = word.partition("=")
        if release in found:
            raise WrongUsage(f"--release {release} is given twice; give each release one weight")
        if not equals and len(words) > 1:
            raise WrongUsage(f"--release {word}: of several releases each needs a weight, as {word}=50")
        if equals and not (percent.isascii() and percent.isdigit() and int(percent) <= 100):
            raise WrongUsage(f"--release {word}: a weight is a whole number from 0 to 100")
        found[release] = int(percent) if equals else 100
    if sum(found.values()) != 100:
        raise WrongUsage(f"the weights add up to {sum(found.values())}; they must add up to 100")
    if len(found) > MOST_TARGETS:
        raise WrongUsage(f"a route leads to at most {MOST_TARGETS} releases; {len(found)} are given")
    return found


def steps(words: Sequence[str]) -> list[Json]:
    """Return the steps of `PERCENT=TIME` words, such as `5=10m`. Raises ``WrongUsage``."""
    found: list[Json] = []
    for word in words:
        percent, _, time = word.partition("=")
        if not (percent.isascii() and percent.isdigit() and 1 <= int(percent) <= 99):
            raise WrongUsage(f"--step {word}: expected a percentage from 1 to 99 and a time, as 5=10m")
        try:
            found.append({"weight": int(percent), "holdSeconds": times.seconds(time)})
        except ArgumentTypeError as error:
            raise WrongUsage(f"--step {word}: {error}") from None
    shares = [one["weight"] for one in found]
    if shares != sorted(set(shares)):
        raise WrongUsage("the percentages of --step must grow; after the last step the newer release has all clients")
    return found


def targets(cluster: Cluster, name: str, pinned: Mapping[str, int], namespace: str) -> list[Json]:
    """Return the targets of a route as the server has them. Raises ``CommandFailure`` for a release of another name."""
    found: list[Json] = []
    for one, weight in pinned.items():
        release = needed(cluster, ModelRelease, one, namespace)
        if release.spec.model_name != name:
            raise CommandFailure(
                f"release {release.name} asks for the model name {release.spec.model_name}: only a route of that name leads to it"
            )
        found.append({"releaseRef": {"name": release.name}, "weight": weight})
    return found


def remove(cluster: Cluster, options: Namespace) -> int:
    """Take a route away; its release stays approved."""
    name = options.name

    def removed(routes: list[Json]) -> list[Json]:
        kept = [one for one in routes if one["name"] != name]
        if len(kept) == len(routes):
            raise absent(options, routes)
        return kept

    change(cluster, options, removed)
    print(
        f"server/{options.subject.name} has no route {name} any more: within seconds clients that ask for it get 404 "
        "model_not_found. Its release stays approved; to stop a release for good: tunegate revoke release/NAME"
    )
    return 0


def absent(options: Namespace, routes: Sequence[Json]) -> CommandFailure:
    """Return the failure that says that a server has no route of a name."""
    there = [str(one["name"]) for one in routes]
    close = nearest(options.name, there)
    hint = f"did you mean {close}?" if close else f"its routes are {', '.join(there) or '(none)'}"
    return CommandFailure(f"server/{options.subject.name} has no route {options.name}; {hint}")


def change(cluster: Cluster, options: Namespace, changed: Change) -> None:
    """Write the routes if the server is still as it was read. Raises ``CommandFailure`` where somebody else was faster."""
    name, namespace = options.subject.name, options.namespace or cluster.namespace
    server = needed(cluster, ModelServer, name, namespace)
    routes = changed([one.to_dict() for one in server.spec.routes])
    known = {key: server.metadata[key] for key in ("uid", "resourceVersion")}
    try:
        cluster.patch(ModelServer, name, namespace, {"metadata": known, "spec": {"routes": routes}})
    except Changed as error:
        raise Changed(f"somebody changed server/{name} at the same time: nothing was written, try again") from error


def _next(cluster: Cluster, name: str, namespace: str, pinned: Collection[str]) -> str:
    """Return what will answer under a new route; ``pinned``: the releases it is for, none: the newest."""
    releases: list[ModelRelease] | None = readable(cluster.all, ModelRelease, namespace)
    if releases is None:
        return "who answers: tunegate get servers"
    fitting = [one for one in releases if one.spec.model_name == name and (not pinned or one.name in pinned)]
    ready = [one for one in fitting if one.status.phase in MAY_SERVE]
    if not fitting:
        return f"nothing answers under it before a release with --model {name} is approved"
    waiting = [one for one in fitting if one not in ready]
    standing = ", ".join(f"{one.name} is {one.status.phase}" for one in waiting[:3])
    if not ready:
        return f"nothing answers under it before an approval: {standing}"
    if not pinned:
        newest = max(ready, key=lambda one: one.status.approved_time or "")
        return f"release {newest.name} answers under it once a pod holds its adapter: tunegate get servers"
    names = ", ".join(one.name for one in ready)
    more = f"; not before an approval: {standing}" if waiting else ""
    return f"{names} {'answers' if len(ready) == 1 else 'answer'} under it once a pod holds the adapter{more}: tunegate get servers"
