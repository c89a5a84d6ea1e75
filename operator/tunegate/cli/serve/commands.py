"""`route` and `ask`, and what they take."""

from __future__ import annotations

from argparse import ArgumentParser

from tunegate.cli import completion
from tunegate.cli.grammar import Grammar, add_output, on_cluster
from tunegate.cli.reference import SERVER
from tunegate.cli.serve import ask, moves, route


def add(commands: Grammar) -> None:
    """Add the commands."""
    routes = commands.group("route", "change the names under which a server answers, as a serving operator")
    one = routes.add(
        "add", on_cluster(route.add), "let a server answer under a name: the newest approved release with that model name",
        examples=[
            "route add server/licenses holders -n licenses-team", "route add server/licenses holders --release holders-1",
            "route add server/licenses holders --release holders-1=90 --release holders-2=10",
            "route add server/licenses holders --step 5=10m --step 25=1h",
        ],
    )  # fmt: skip
    completion.add_reference(one, (SERVER,), metavar="server/NAME")
    one.add_argument("name", metavar="ROUTE", help="what clients put into `model`")
    _add_releases(one, "only this release, whatever is approved later; several with their shares of the clients")
    one.add_argument(
        "--step",
        metavar="PERCENT=TIME",
        action="append",
        help="give a newer release this share of the clients for this time first; all of them after the last step",
    )
    one = routes.add(
        "remove", on_cluster(route.remove), "let a server answer under a name no more; the release stays approved",
        examples=["route remove server/licenses holders -n licenses-team"],
    )  # fmt: skip
    _add_route(one)
    one = routes.add(
        "stop", on_cluster(moves.stop), "take no further step to a newer release; a broken bound still goes back",
        examples=["route stop server/licenses holders -n licenses-team"],
    )  # fmt: skip
    _add_route(one)
    one = routes.add(
        "resume", on_cluster(moves.resume), "follow approvals again, and try again what a route went back from",
        examples=["route resume server/licenses holders -n licenses-team"],
    )  # fmt: skip
    _add_route(one)
    one = routes.add(
        "pin", on_cluster(moves.pin), "keep who answers now, with their shares, or name who answers",
        examples=[
            "route pin server/licenses holders -n licenses-team", "route pin server/licenses holders --release holders-1",
            "route pin server/licenses holders --release holders-1=90 --release holders-2=10",
        ],
    )  # fmt: skip
    _add_route(one)
    _add_releases(one, "default: those that answer now")
    one = routes.add(
        "back", on_cluster(moves.back), "go back to the release that answered before, and stay there",
        examples=["route back server/licenses holders -n licenses-team"],
    )  # fmt: skip
    _add_route(one)
    one = routes.add(
        "shadow", on_cluster(moves.shadow), "have a release answer copies of the requests, whose answers are thrown away",
        examples=[
            "route shadow server/licenses holders --release holders-2=10 -n licenses-team",
            "route shadow server/licenses holders",
        ],
    )  # fmt: skip
    _add_route(one)
    copied = one.add_argument("--release", metavar="RELEASE=PERCENT", help="default: copy nothing any more")
    completion.completed(copied, completion.RELEASES)

    one = commands.add(
        "ask", on_cluster(ask.ask), "ask a served model one question, as the gate asked",
        examples=[
            'ask holders "Copyright 1999 Ann Example" --service-account application -n licenses-team',
            'ask holders "Copyright 1999 Ann Example" --base --gateway http://localhost:8080 --token-file token',
        ],
    )  # fmt: skip
    completion.completed(one.add_argument("model", metavar="MODEL", help="route"), completion.answering)
    one.add_argument("question", metavar="QUESTION", help="the user's turn; - reads standard input")
    one.add_argument(
        "--system", metavar="TEXT", help="system turn; default: the gate's, where it had one for all questions"
    )
    one.add_argument("--base", action="store_true", help="also show the base model's answer to the same request")
    group = one.add_argument_group("gateway", "The settings may name these once; see docs/cli.md.")
    group.add_argument("--gateway", metavar="URL", help="default: the server's address inside the cluster")
    group.add_argument("--gateway-ca", metavar="FILE", help="PEM authority of its certificate")
    group.add_argument(
        "--token-file", metavar="FILE", help="an API key, or a Kubernetes token for audience tunegate-gateway"
    )
    group.add_argument(
        "--service-account",
        metavar="[NAMESPACE/]NAME",
        help="make a token of this account, if you may; it lasts 10 minutes",
    )
    add_output(one, ("text", "json"))


def _add_route(one: ArgumentParser) -> None:
    completion.add_reference(one, (SERVER,), metavar="server/NAME")
    completion.completed(one.add_argument("name", metavar="ROUTE", help="the route"), completion.answering)


def _add_releases(one: ArgumentParser, text: str) -> None:
    pinned = one.add_argument("--release", metavar="RELEASE[=PERCENT]", action="append", help=text)
    completion.completed(pinned, completion.RELEASES)
