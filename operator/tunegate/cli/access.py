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
    """Something that people do, the right that it takes, and which value of the chart gives it."""

    does: str
    verb: str
    resource: str
    value: str
    """Of the chart `tunegate`; of a right that the chart binds to nobody, its ClusterRole."""
    name: str = ""
    group: str = GROUP
    everywhere: bool = False
    """It is a right in the whole cluster."""


RIGHTS = (
    Right("read jobs, releases and servers", "list", "modelreleases", "people.requesters, approvers, servingOperators or auditors"),
    Right("read base models, pools and policies", "list", "approvalpolicies", "people.requesters, approvers or servingOperators", everywhere=True),
    Right("ask for jobs, suspend and delete them", "create", "finetunejobs", "people.requesters"),
    Right("have jobs use servers", "use", "modelservers", "people.requesters"),
    Right("have jobs use pools", "use", "computepools", "people.requesters", everywhere=True),
    Right("ask for releases", "create", "modelreleases", "people.requesters"),
    Right("read logs of stages", "get", "pods/log", "people.requesters or servingOperators", group=CORE),
    Right("change servers and their routes", "patch", "modelservers", "people.servingOperators"),
    Right("revoke as on-call", "revoke", "approvalroles", "people.servingOperators", name="serving-operator"),
    Right("override a missing quorum", "override", "approvalroles", "ClusterRole tunegate-break-glass, bound by hand", name="break-glass"),
    Right("push questions", "create", "questions", "people.evaluationOwners"),
    Right("push data and documents", "create", "datasets", "people.dataStewards"),
    Right("make evaluation suites", "create", "evaluationsuites", "people.evaluationOwners"),
    Right("write approval policies", "create", "approvalpolicies", "people.policyOwners", everywhere=True),
    Right("read the ledger", "list", "auditrecords", "people.auditors", everywhere=True),
    Right("maintain the installation", "maintain", "installations", "people.maintainers", name="tunegate", everywhere=True),
)  # fmt: skip
OUTSIDE = (
    "Findings, answers, data and statements lie in the registry: see docs/review.md for a credential.",
    "Asking a served model is for the clients of its server: see docs/use.md.",
)


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
        told = [{"right": one.does, "held": has, "givenBy": one.value} for one, has in rights]
        screen.write({**document, "rights": told}, options.output)
        return 0
    out = screen.console()
    groups = ", ".join(document["groups"]) or "no groups"
    screen.heading(out, f"{me['username']} ({groups})", f"in namespace {namespace}")
    rows = [(one.does, "yes", "") if has else (one.does, "no", one.value) for one, has in rights]
    screen.table(out, ("right", "you", "given by"), rows, indent=2)
    for line in OUTSIDE:
        out.print(f"  {line}")
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
                value = f"people.approvers, role {role}"
                yield Right(f"approve and revoke as {role}", "approve", "approvalroles", value, name=role)
