"""What people do, the right of RBAC that it takes, and which values of the chart give it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunegate.api.markers import GROUP

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
READS = frozenset({"get", "list", "watch"})
CATALOGUE = frozenset({"basemodels", "computepools", "approvalpolicies"})
WRITERS = {
    "finetunejobs": "people.requesters", "modelreleases": "people.requesters", "modelservers": "people.servingOperators",
    "evaluationsuites": "people.evaluationOwners", "approvalpolicies": "people.policyOwners", "approvals": "people.approvers",
}  # fmt: skip
"""By kind, the value of the chart whose people make and change its objects; of other kinds they are the platform team's."""
DENIED = re.compile(
    rf'cannot (?P<verb>[a-z]+) resource "(?P<resource>[a-z/]+)" in API group "{re.escape(GROUP)}"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
"""What the API server says of a right of ours that a person lacks."""


def with_givers(message: str) -> str:
    """Return the API server's message, with the value of the chart that gives the right which is missing."""
    denied = DENIED.search(message)
    if denied is None:
        return message
    where = denied["namespace"]
    typo = f". If namespace {where} does not exist or is not governed, nobody has it: correct -n" if where else ""
    return f"{message}. {_giver(denied['verb'], denied['resource'])} gives this right{typo}"


def _giver(verb: str, resource: str) -> str:
    exact = next((one for one in RIGHTS if (one.verb, one.resource) == (verb, resource) and one.people), None)
    if exact is not None:
        return f"The chart's {exact.given_by}"
    if verb in READS and resource in {*WRITERS, *CATALOGUE, "usages"}:
        wanted = "computepools" if resource in CATALOGUE else "modelreleases"
        return f"The chart's {next(one for one in RIGHTS if (one.verb, one.resource) == ('list', wanted)).given_by}"
    writer = WRITERS.get(resource.partition("/")[0])
    return f"The chart's {writer}" if writer else "The platform team"
