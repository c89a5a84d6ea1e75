"""Somebody with Kubernetes' own role `admin` or `edit` in a governed namespace, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support.governed_namespace import Answer, Json, World

AUTHENTICATED = "system:authenticated"
ADMIN, EDITOR = "mallory", "eddie"


def bind(world: World) -> None:
    """Give both their roles."""
    for user, role in ((ADMIN, "admin"), (EDITOR, "edit")):
        world.kubectl(
            "admin", "create", "rolebinding", f"{user}-{role}", f"--clusterrole={role}", f"--user={user}",
            "-n", world.namespace,
        ).passes()  # fmt: skip


def act(world: World, user: str, *args: str, stdin: Json | None = None) -> Answer:
    """Run kubectl as one of them."""
    return world.kubectl("admin", *args, stdin=stdin, as_=user, groups=(AUTHENTICATED,))


def create(world: World, user: str, obj: Json) -> Answer:
    """Create an object as one of them; nothing is stored."""
    return act(world, user, "create", "-f", "-", "--dry-run=server", stdin=obj)


def until_refused(probe: Callable[[], Answer], words: str) -> None:
    """A new rule or right acts after a second or three."""
    deadline = time.monotonic() + 60
    while words not in (answer := probe()).err:
        assert time.monotonic() < deadline, f"the rule does not act after 60 s: {answer}"
        time.sleep(0.3)
