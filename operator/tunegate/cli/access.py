"""`tunegate access`: what this person may do in a namespace, asked of the API server, and who gives what is missing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.markers import GROUP
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.grammar import Grammar, add_output, on_cluster
from tunegate.cli.whoami import own_groups

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
CLIENTS = "Asking a served model is for the clients that its server names in spec.clients: see docs/use.md."
"""No right of RBAC, so the chart gives it to nobody."""


def add(commands: Grammar) -> None:
    """Add the command."""
    one = commands.add(
        "access", on_cluster(access), "show what you may do in a namespace, and which value of the chart gives the rest",
        examples=["access -n licenses-team", "access -n licenses-team -o json"],
    )  # fmt: skip
    add_output(one, screen.FORMATS)


def access(cluster: Cluster, options: Namespace) -> int:
    """Print the person's rights as the API server knows them."""
    namespace = options.namespace or cluster.namespace
    me = cluster.whoami()
    rights = [(one, held(cluster, one, namespace)) for one in _all(cluster)]
    document: Json = {"username": me["username"], "groups": own_groups(me), "namespace": namespace}
    if options.output != "text":
        told = [{"right": one.does, "held": has, "givenBy": one.given_by} for one, has in rights]
        screen.write({**document, "rights": told}, options.output)
        return 0
    out = screen.console()
    groups = ", ".join(document["groups"]) or "no groups"
    screen.heading(out, f"{me['username']} ({groups})", f"in namespace {namespace}")
    rows = [(one.does, "yes", "") if has else (one.does, "no", one.given_by) for one, has in rights]
    screen.table(out, ("right", "you", "given by"), rows, indent=2)
    out.print(f"  {CLIENTS}")
    if not all(has for _, has in rights):
        out.print("  What you lack, the platform team gives by adding one of your groups to that value.")
    return 0


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
