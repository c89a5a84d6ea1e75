"""What a decision brings about, said before it is recorded: until when it counts, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.api.modelrelease import ModelRelease

Json = Mapping[str, Any]
Facts = list[tuple[str, str]]
RELEASE = ModelRelease.KIND.kind
FINAL = {
    ("Reject", True): "the release is denied, for good",
    ("Reject", False): "the job ends, for good",
    ("Revoke", True): "its route closes within seconds, for good",
    ("Withdraw", True): "you cannot approve it again; another person of the role can",
    ("Withdraw", False): "you cannot approve it again; another person of the role can",
}
"""By decision, and whether it is about a release."""


def consequences(kind: str, spec: Json, missing: Mapping[str, int], *, complete: bool = False) -> Facts:
    """Return what follows. ``missing`` are the open slots by role, before this decision; ``complete``: none was missing."""
    decision, release = spec["decision"], kind == RELEASE
    if (decision, release) in FINAL:
        return [("afterwards", FINAL[decision, release])]
    lapse = ("counts until", spec["expirationTime"])
    if decision == "Override":
        return [lapse, ("afterwards", "what it opened is closed then, unless the quorum was reached")]
    if complete or (missing and spec["role"] not in missing):
        filled = (
            "the quorum is complete already" if complete else f"all slots of role {spec['role']} are filled already"
        )
        return [lapse, ("at once", f"nothing: {filled}. It counts only once another approval lapses or is withdrawn")]
    rest = {role: slots - (role == spec["role"]) for role, slots in missing.items()}
    others = ", ".join(f"{slots} of role {role}" for role, slots in rest.items() if slots > 0)
    effect = (
        "it is rolled out, and answers under its model name where the route follows the newest approved release" if release
        else "the job goes on, and every release of it shows the waiver"
    )  # fmt: skip
    if others:
        after = "what serves by then goes on serving, only a new rollout needs new approvals" if release else ""
        ended = "if the others have not agreed by then, it counts no more" + (f"; {after}" if after else "")
        return [lapse, ("still needed", f"{others}; then {effect}"), ("afterwards", ended)]
    return [lapse, ("at once", f"the quorum is complete: {effect}")]
