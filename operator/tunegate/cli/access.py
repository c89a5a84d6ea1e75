"""`tunegate access`: what this person may do in a namespace, asked of the API server, and who gives what is missing."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.cli import config, exchange, screen
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.failure import CommandFailure
from tunegate.cli.grammar import Grammar, add_output, on_cluster
from tunegate.cli.rights import RIGHTS, Right
from tunegate.cli.whoami import own_groups

TOKEN_SECONDS = 600
"""Of the token by which an account's rights are asked for: the shortest that Kubernetes makes."""
CLIENTS = "Asking a served model is for the clients that its server names in spec.clients: see docs/use.md."
"""No right of RBAC, so the chart gives it to nobody."""


Rights = Sequence[tuple[Right, bool]]


def add(commands: Grammar) -> None:
    """Add the command."""
    one = commands.add(
        "access", on_cluster(access), "show what you may do in a namespace, and which value of the chart gives the rest",
        examples=["access -n licenses-team", "access -n licenses-team -o json"],
    )  # fmt: skip
    add_output(one, screen.FORMATS)


def access(cluster: Cluster, options: Namespace) -> int:
    """Print the person's rights as the API server knows them, and those of the account that they show to the exchange."""
    namespace = options.namespace or cluster.namespace
    me = cluster.whoami()
    rights = [(one, held(cluster, one, namespace)) for one in _all(cluster)]
    account = _account(cluster, options)
    shown = _as_account(cluster, account, options) if account is not None else None
    opened = {one: held(shown, one, namespace) for one, _ in rights if shown is not None and one.at_exchange}
    document: Json = {"username": me["username"], "groups": own_groups(me), "namespace": namespace}
    if options.output != "text":
        told = [
            {"right": one.does, "held": has, "givenBy": one.given_by}
            | ({"heldByAccount": opened[one]} if one in opened else {})
            for one, has in rights
        ]
        named = {} if account is None else {"account": "/".join(account)}
        screen.write({**document, **named, "rights": told}, options.output)
        return 0
    out = screen.console()
    groups = ", ".join(document["groups"]) or "no groups"
    screen.heading(out, f"{me['username']} ({groups})", f"in namespace {namespace}")
    _print(out, rights, opened, account)
    return 0


def _print(out: Console, rights: Rights, opened: Mapping[Right, bool], account: tuple[str, str] | None) -> None:
    """Print the table, and who gives what is missing."""
    headers = ("right", "you", *(() if account is None else (f"account {account[1]}",)), "given by")
    rows = []
    for one, has in rights:
        of_account = () if account is None else ({True: "yes", False: "no", None: ""}[opened.get(one)],)
        rows.append((one.does, "yes" if has else "no", *of_account, "" if opened.get(one, has) else one.given_by))
    screen.table(out, headers, rows, indent=2)
    out.print(f"  {CLIENTS}")
    if account is not None:
        out.print(
            f"  Registry and MLflow open by the rights of the account {'/'.join(account)}, which your settings name. "
            "The platform team binds them: docs/road-cluster.md, Tell the team."
        )
    if not all(has for _, has in rights):
        out.print("  What you lack, the platform team gives by adding one of your groups to that value.")


def _account(cluster: Cluster, options: Namespace) -> tuple[str, str] | None:
    """Return namespace and name of the account that the settings name for the exchange."""
    told = config.read().registry
    if told is None or told.exchange is None or told.service_account is None or told.token_file is not None:
        return None
    return exchange.placed(told.service_account, options, cluster)


def _as_account(cluster: Cluster, account: tuple[str, str], options: Namespace) -> Cluster | None:
    """Return the connection of an account; None, with a warning, where this person may not make its tokens."""
    try:
        token = cluster.account_token(*account, None, TOKEN_SECONDS)
    except CommandFailure as error:
        message = (
            f"warning: the rights of the account {'/'.join(account)}, which your settings name, are not known: {error}"
        )
        print(screen.shown(message), file=sys.stderr)
        return None
    return Cluster(options.kubeconfig, options.context, token=token)


def held(cluster: Cluster, right: Right, namespace: str) -> bool:
    """Tell whether the person holds a right there."""
    where = "" if right.everywhere else namespace
    return cluster.may(right.verb, right.resource, right.name, where, group=right.group)


def _all(cluster: Cluster) -> Iterator[Right]:
    """Yield the rights, with those of the roles that readable policies name."""
    policies: list[ApprovalPolicy] = readable(cluster.all, ApprovalPolicy) or []
    for right in RIGHTS:
        yield right
        if right.resource == "modelreleases" and right.verb == "create":
            for role in sorted({role.name for policy in policies for role in policy.spec.roles}):
                yield Right(f"approve and revoke as {role}", "approve", "approvalroles", ("approvers",), name=role)
