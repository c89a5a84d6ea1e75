"""Who asks, who decides, who writes policies and suites, by RBAC. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.api.markers import GROUP
from tunegate.rbac.rights import Need, Rights, Subject

Json = Mapping[str, Any]
ASK = (Need(("create",), GROUP, "modelreleases"), Need(("create",), GROUP, "finetunejobs"))
DECIDE = (Need(("approve",), GROUP, "approvalroles"),)
RULE = (Need(("create", "update", "patch"), GROUP, "approvalpolicies"),)
EXAMINE = (Need(("create",), GROUP, "evaluationsuites"),)
ASKS_AND_APPROVES, WRITES_AND_APPROVES = "asks and approves", "writes policies and approves"
ASKS_AND_EXAMINES, EXAMINES_AND_APPROVES = "asks and writes suites", "writes suites and approves"
WRITES_AND_EXAMINES = "writes policies and suites"


def people(rights: Rights) -> set[Subject]:
    """Return everybody who asks, decides or writes policies or suites somewhere."""
    needs = (*ASK, *DECIDE, *RULE, *EXAMINE)
    return {one for namespace in ("", *rights.namespaces) for one in rights.holders(needs, namespace)}


def overlaps(rights: Rights, namespaces: Sequence[str]) -> dict[str, set[Subject]]:
    """Return who holds two duties that should be apart, in any of the namespaces."""
    owners = set(rights.holders(RULE))
    both: dict[str, set[Subject]] = {
        name: set()
        for name in (
            ASKS_AND_APPROVES, WRITES_AND_APPROVES, ASKS_AND_EXAMINES, EXAMINES_AND_APPROVES, WRITES_AND_EXAMINES,
        )
    }  # fmt: skip
    for namespace in namespaces:
        asking, approving, examining = (set(rights.holders(needs, namespace)) for needs in (ASK, DECIDE, EXAMINE))
        both[ASKS_AND_APPROVES] |= approving & asking
        both[WRITES_AND_APPROVES] |= approving & owners
        both[ASKS_AND_EXAMINES] |= asking & examining
        both[EXAMINES_AND_APPROVES] |= examining & approving
        both[WRITES_AND_EXAMINES] |= owners & examining
    return both


def can_be_filled(rights: Rights, role: Json, namespace: str) -> bool:
    """Tell whether a group holds both the right and the policy's trust. A user may be in such a group: that is taken for one."""
    need = Need(("approve",), GROUP, "approvalroles", str(role["name"]))
    holders = rights.holders((need,), namespace)
    return any(one.kind == "User" or (one.kind == "Group" and one.name in role["groups"]) for one in holders)
