"""`route add|remove` and `ask`, and what they take."""

from __future__ import annotations

from tunegate.cli import completion
from tunegate.cli.grammar import Grammar, add_output, on_cluster
from tunegate.cli.reference import SERVER
from tunegate.cli.serve import ask, route


def add(commands: Grammar) -> None:
    """Add the commands."""
    routes = commands.group("route", "change the names under which a server answers, as a serving operator")
    one = routes.add(
        "add", on_cluster(route.add), "let a server answer under a name: the newest approved release with that model name",
        examples=["route add server/licenses holders -n licenses-team", "route add server/licenses holders --release holders-1"],
    )  # fmt: skip
    completion.add_reference(one, (SERVER,), metavar="server/NAME")
    one.add_argument("name", metavar="ROUTE", help="what clients put into `model`")
    pinned = one.add_argument("--release", metavar="RELEASE", help="only this release, whatever is approved later")
    completion.completed(pinned, completion.RELEASES)
    one = routes.add(
        "remove", on_cluster(route.remove), "let a server answer under a name no more; the release stays approved",
        examples=["route remove server/licenses holders -n licenses-team"],
    )  # fmt: skip
    completion.add_reference(one, (SERVER,), metavar="server/NAME")
    completion.completed(one.add_argument("name", metavar="ROUTE", help="the route"), completion.answering)

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
