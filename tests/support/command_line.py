"""`tunegate` run as one person of the local cluster after the other, and statuses written as the operator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.governed_namespace import OPERATOR, World
from tunegate.cli.main import main

Json = dict[str, Any]


class Cli:
    """Runs `tunegate` as a role."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world = world
        self.capsys = capsys

    def run(self, role: str, *arguments: str, code: int = 0) -> str:
        """Run `tunegate` as a role; return what it printed, on either stream."""
        self.capsys.readouterr()
        found: str | int | None
        try:
            found = main(["--kubeconfig", self.world.kubeconfig(role), "-n", self.world.namespace, *arguments])
        except SystemExit as ended:  # wrong usage, as argparse ends it
            found = ended.code
        printed = self.capsys.readouterr()
        assert found == code, printed.out + printed.err
        return printed.out + printed.err


def get(world: World, kind: str, name: str) -> str:
    return world.kubectl("admin", "get", kind.lower(), name, "-n", world.namespace, "-o", "json").passes().out


def say(world: World, kind: str, name: str, status: Json) -> bool:
    """Write a status as the operator; tell whether it was there already."""
    live = json.loads(get(world, kind, name)).get("status", {})
    if all(live.get(key) == value for key, value in status.items()):
        return True
    change = json.dumps({"status": status})
    args = ("patch", kind, name, "-n", world.namespace, "--type=merge", "--subresource=status", "-p", change)
    world.kubectl("admin", *args, as_=OPERATOR, groups=("system:masters",)).passes()
    return False
