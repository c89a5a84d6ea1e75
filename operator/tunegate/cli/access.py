"""`tunegate access`: what this person may do in a namespace, asked of the API server, and who gives what is missing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.markers import GROUP
from tunegate.cli import config, exchange, screen
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.grammar import Grammar, add_output, on_cluster
from tunegate.cli.whoami import own_groups

TOKEN_SECONDS = 600
"""Of the token by which an account's rights are asked for: the shortest that Kubernetes makes."""
CORE = ""
"""The group of Kubernetes' own first kinds."""


@dataclass(frozen=True)
class Right:
    """Something that people do, the right that it takes, and which values of the chart give it."""

    does: str
    verb: str
    resource: str
    people: tuple[str, ...]
    """Of the chart `tunegate`, under `people`; none: the chart binds its role to nobody. A test compares them with the chart."""
    name: str = ""
    group: str = GROUP
    everywhere: bool = False
    """It is a right in the whole cluster."""

    @property
    def at_exchange(self) -> bool:
        """Whether the exchange asks for it, of whose token it is shown."""
        return self.group == GROUP and self.resource.partition("/")[0] in AT_EXCHANGE

    @property
    def given_by(self) -> str:
        """What the platform team changes to give it."""
        if not self.people:
            return f"ClusterRole tunegate-{self.name}, bound by hand"
        first, last = ", ".join(self.people[:-1]), self.people[-1]
        return f"people.{first} or {last}" if first else f"people.{last}"


RIGHTS = (
    Right("read jobs, releases and servers", "list", "modelreleases",
          ("requesters", "approvers", "evaluationOwners", "servingOperators", "auditors")),
    Right("read base models, pools and policies", "list", "computepools",
          ("requesters", "approvers", "evaluationOwners", "servingOperators", "auditors"), everywhere=True),
    Right("ask for jobs, suspend and delete them", "create", "finetunejobs", ("requesters",)),
    Right("have jobs use servers", "use", "modelservers", ("requesters",)),
    Right("have jobs use pools", "use", "computepools", ("requesters",), everywhere=True),
    Right("ask for releases", "create", "modelreleases", ("requesters",)),
    Right("read logs of stages", "get", "pods/log", ("requesters", "servingOperators"), group=CORE),
    Right("read findings and results", "get", "evidence/results", ("requesters", "approvers", "evaluationOwners", "auditors")),
    Right("read answers, rows and statements", "get", "evidence/answers", ("approvers", "evaluationOwners", "auditors")),
    Right("list pushed data and documents", "list", "datasets",
          ("requesters", "approvers", "evaluationOwners", "dataStewards", "auditors")),
    Right("push, read and withdraw questions", "create", "questions", ("evaluationOwners",)),
    Right("push and read data and documents", "create", "datasets", ("dataStewards",)),
    Right("see runs and models in MLflow", "get", "runs", ("requesters", "approvers", "auditors")),
    Right("change servers and their routes", "patch", "modelservers", ("servingOperators",)),
    Right("revoke as on-call", "revoke", "approvalroles", ("servingOperators",), name="serving-operator"),
    Right("override a missing quorum", "override", "approvalroles", (), name="break-glass"),
    Right("make evaluation suites", "create", "evaluationsuites", ("evaluationOwners",)),
    Right("write approval policies", "create", "approvalpolicies", ("policyOwners",), everywhere=True),
    Right("read the ledger", "list", "auditrecords", ("auditors",), everywhere=True),
    Right("maintain the installation", "maintain", "installations", ("maintainers",), name="tunegate", everywhere=True),
)  # fmt: skip
AT_EXCHANGE = ("evidence", "datasets", "questions", "runs")
"""Virtual resources that open the registry and MLflow."""
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
    account, shown = _account(cluster, options), None
    if account is not None:
        shown = Cluster(
            options.kubeconfig, options.context, token=cluster.account_token(*account, None, TOKEN_SECONDS)
        )
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
