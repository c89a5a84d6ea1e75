"""Are duties separated: who asks, who decides, who writes the rules; and can each role be filled at all? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.api.markers import GROUP
from tunegate.cli.doctor.check import Check
from tunegate.cli.doctor.rights import Need, Rights, Subject

Json = Mapping[str, Any]
ASK = (Need(("create",), GROUP, "modelreleases"), Need(("create",), GROUP, "finetunejobs"))
DECIDE = (Need(("approve",), GROUP, "approvalroles"),)
RULE = (Need(("create", "update", "patch"), GROUP, "approvalpolicies"),)


def people(rights: Rights) -> set[Subject]:
    """Return everybody who asks, decides or writes the rules somewhere."""
    return {one for namespace in ("", *rights.namespaces) for one in rights.holders((*ASK, *DECIDE, *RULE), namespace)}


def overlaps(rights: Rights, namespaces: Sequence[str]) -> Iterator[Check]:
    """Yield who holds two duties that should be apart. One's own release nobody approves, whatever they hold."""
    owners = set(rights.holders(RULE))
    both: dict[str, set[Subject]] = {"asks and approves": set(), "writes policies and approves": set()}
    for namespace in namespaces:
        approvers = set(rights.holders(DECIDE, namespace))
        both["asks and approves"] |= approvers & set(rights.holders(ASK, namespace))
        both["writes policies and approves"] |= approvers & owners
    for name, subjects in both.items():
        if not subjects:
            yield Check(f"who {name}", "OK", "nobody (members of two groups are not seen here)")
        elif name == "asks and approves":
            yield Check(f"who {name}", "WARN", _names(subjects), "colleagues can agree each other's releases")
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
        empty = [role["name"] for role in policy["spec"]["roles"] if not _filled(rights, role, name)]
        if empty:
            advice = "bind the verb approve on approvalroles to a group that the policy's role names"
            yield Check(f"policy of {name}", "FAIL", f"nobody can approve as {', '.join(empty)}", advice)
        else:
            yield Check(f"policy of {name}", "OK", f"{entry['policy']}: every role can be filled")


def _filled(rights: Rights, role: Json, namespace: str) -> bool:
    """Tell whether a group holds both the right and the policy's trust. A user may be in such a group: that is taken for one."""
    need = Need(("approve",), GROUP, "approvalroles", str(role["name"]))
    holders = rights.holders((need,), namespace)
    return any(one.kind == "User" or (one.kind == "Group" and one.name in role["groups"]) for one in holders)


def _names(subjects: set[Subject]) -> str:
    return ", ".join(map(str, sorted(subjects)))
