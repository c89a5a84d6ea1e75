"""`data list|show|delete`: what was pushed, as the exchange tells it."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import closing

from tunegate.api.numbers import size
from tunegate.api.pushed import PushedKind, PushedPlace
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.exchange import Exchange, address
from tunegate.cli.failure import CommandFailure, WrongUsage

HEADERS = ("name", "class", "size", "pushed", "by", "digest")


def list_all(kind: PushedKind, options: Namespace) -> int:
    """Print one line for each push."""
    with closing(Exchange(address(options))) as exchange:
        found = exchange.pushes(namespace_of(options), kind, options.name)
    if options.output != "text":
        screen.write(found, options.output)
    elif not found:
        print(f"nothing was pushed in namespace {namespace_of(options)}", file=sys.stderr)
    else:
        screen.listing(
            screen.console(), HEADERS, [_line(one) for one in found], less_important=("by", "size", "pushed")
        )
    return 0


def show(kind: PushedKind, options: Namespace) -> int:
    """Print everything that is recorded of one push. Raises ``CommandFailure`` where there is none."""
    place = place_of(kind, options.uri)
    with closing(Exchange(address(options))) as exchange:
        found = next(
            (one for one in exchange.pushes(place.namespace, kind, place.name) if one["uri"] == place.uri), None
        )
    if found is None:
        raise CommandFailure(f"nothing was pushed at {place.uri}")
    if options.output != "text":
        screen.write(found, options.output)
        return 0
    print(place.uri)  # Whole, so that it can be copied: a table would break it.
    out = screen.console(pipe_width=screen.PAGE_WIDTH)
    declared = found.get("declaration") or {}
    gone = f"by {found['withdrawnBy']} at {found['withdrawnTime']}" if found.get("withdrawnBy") else "no"
    screen.facts(
        out,
        [
            *([] if not declared else [
                ("class", declared["classification"]), ("license", declared["license"]), ("source", declared["source"]),
                ("steward", declared["steward"]), ("may be used until", declared.get("expirationDate", "no such day")),
            ]),
            ("files", found["files"]), ("size", size(found["bytes"])), ("pushed by", found["pushedBy"]),
            ("pushed at", found["pushedTime"]), ("withdrawn", gone),
        ],
        indent=0,
    )  # fmt: skip
    return 0


def delete(kind: PushedKind, options: Namespace) -> int:
    """Withdraw one push, after asking."""
    place = place_of(kind, options.uri)
    if not options.yes:
        if not sys.stdin.isatty():
            raise WrongUsage("this cannot be undone: confirm with --yes")
        question = f"No job begins a stage with {place.name}@{place.digest[:19]}… any more, and it cannot be undone. Withdraw it? [y/N] "
        print(question, end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandFailure("nothing was withdrawn")
    with closing(Exchange(address(options))) as exchange:
        found = exchange.withdraw(place)
    print(
        f"{place.uri} was withdrawn by {screen.shown(found['withdrawnBy'])}. Its bytes stay in the registry until it is cleaned."
    )
    return 0


def place_of(kind: PushedKind, uri: str) -> PushedPlace:
    """Read an address of a kind. Raises ``WrongUsage``."""
    try:
        place = PushedPlace.of(uri)
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    if place.kind != kind:
        raise WrongUsage(f"{uri}: these are {place.kind}, not {kind}")
    return place


def namespace_of(options: Namespace) -> str:
    """Return the namespace that is named, or that of the kubeconfig."""
    return str(options.namespace or Cluster.of(options).namespace)


def _line(one: Json) -> tuple[str, ...]:
    digest = str(one["place"]["digest"])
    return (
        one["place"]["name"], (one.get("declaration") or {}).get("classification", "-"), size(one["bytes"]), str(one["pushedTime"])[:16].replace("T", " "),
        one["pushedBy"], f"withdrawn {digest}" if one.get("withdrawnBy") else digest,
    )  # fmt: skip
