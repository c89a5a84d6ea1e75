"""Who asks, who decides, who writes the policies, by RBAC. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.api.markers import GROUP
from tunegate.rbac.rights import Need, Rights, Subject

Json = Mapping[str, Any]
ASK = (Need(("create",), GROUP, "modelreleases"), Need(("create",), GROUP, "finetunejobs"))
DECIDE = (Need(("approve",), GROUP, "approvalroles"),)
RULE = (Need(("create", "update", "patch"), GROUP, "approvalpolicies"),)
ASKS_AND_APPROVES, WRITES_AND_APPROVES = "asks and approves", "writes policies and approves"


def people(rights: Rights) -> set[Subject]:
    """Return everybody who asks, decides or writes the policies somewhere."""
    return {one for namespace in ("", *rights.namespaces) for one in rights.holders((*ASK, *DECIDE, *RULE), namespace)}


def overlaps(rights: Rights, namespaces: Sequence[str]) -> dict[str, set[Subject]]:
    """Return who holds two duties that should be apart, in any of the namespaces."""
    owners = set(rights.holders(RULE))
    both: dict[str, set[Subject]] = {ASKS_AND_APPROVES: set(), WRITES_AND_APPROVES: set()}
    for namespace in namespaces:
        approvers = set(rights.holders(DECIDE, namespace))
        both[ASKS_AND_APPROVES] |= approvers & set(rights.holders(ASK, namespace))
        both[WRITES_AND_APPROVES] |= approvers & owners
    return both


def can_be_filled(rights: Rights, role: Json, namespace: str) -> bool:
    """Tell whether a group holds both the right and the policy's trust. A user may be in such a group: that is taken for one."""
    need = Need(("approve",), GROUP, "approvalroles", str(role["name"]))
    holders = rights.holders((need,), namespace)
    return any(one.kind == "User" or (one.kind == "Group" and one.name in role["groups"]) for one in holders)
