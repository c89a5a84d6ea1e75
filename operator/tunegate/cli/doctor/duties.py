"""Are duties separated: who asks, who decides, who writes policies and suites; and can each role be filled at all? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.cli.doctor.check import Check
from tunegate.rbac import duties
from tunegate.rbac.rights import Rights, Subject

Json = Mapping[str, Any]


WARNED = {
    duties.ASKS_AND_APPROVES: "colleagues can agree each other's releases",
    duties.ASKS_AND_EXAMINES: "people can choose the questions by which their own model is judged: give suites to a group "
    "of its own (people.evaluationOwners)",
    duties.EXAMINES_AND_APPROVES: "the authors of a suite can approve what passed it",
    duties.WRITES_AND_EXAMINES: "people can accept a suite of their own for a policy (requiredSuiteRefs)",
}
"""Two duties that one group may hold in a small site; any other pair is a failure."""


def overlaps(rights: Rights, namespaces: Sequence[str]) -> Iterator[Check]:
    """Yield who holds two duties that should be apart. One's own release nobody approves, whatever they hold."""
    for name, subjects in duties.overlaps(rights, namespaces).items():
        if not subjects:
            yield Check(f"who {name}", "OK", "nobody (members of two groups are not seen here)")
        elif name in WARNED:
            yield Check(f"who {name}", "WARN", _names(subjects), WARNED[name])
        else:
            yield Check(f"who {name}", "FAIL", _names(subjects), "take one of the two rights from them")


def roles(rights: Rights, governed: Sequence[Json], policies: Mapping[str, Json]) -> Iterator[Check]:
    """Yield whether each governed namespace has its policy, and whether somebody can fill every role of it."""
    if not governed:
        yield Check(
            "namespaces", "WARN", "no namespace is governed", "name one in the chart's value governedNamespaces"
        )
    for entry in governed:
        name, policy = str(entry["name"]), policies.get(str(entry["policy"]))
        if policy is None:
            advice = f"create ApprovalPolicy {entry['policy']}: without it no job and no release goes on"
            yield Check(f"policy of {name}", "FAIL", f"ApprovalPolicy {entry['policy']} does not exist", advice)
            continue
        empty = [role["name"] for role in policy["spec"]["roles"] if not duties.can_be_filled(rights, role, name)]
        if empty:
            advice = "bind the verb approve on approvalroles to a group that the policy's role names"
            yield Check(f"policy of {name}", "FAIL", f"nobody can approve as {', '.join(empty)}", advice)
        else:
            yield Check(f"policy of {name}", "OK", f"{entry['policy']}: every role can be filled")


def _names(subjects: set[Subject]) -> str:
    return ", ".join(map(str, sorted(subjects)))
