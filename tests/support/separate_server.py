"""A governed namespace on an API server of its own, for rules that hold in the whole cluster or read kinds that others lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.control_plane import Member, install_definitions, running_control_plane
from tests.support.governed_namespace import World, as_list, render
from tests.support.namespace_admin import until_refused


@contextmanager
def governed_alone(folder: Path, members: Sequence[Member]) -> Iterator[World]:
    """Run the chart's rules and the people's roles for the namespace `team`, and nothing else.

    Among ``members`` have to be `admin`, with every right, and `reviewer-risk`.
    """
    with running_control_plane(folder, members) as plane:
        world = World("team", "tunegate-system", plane.kubeconfig)
        install_definitions(plane)
        for namespace in (world.namespace, world.system):
            world.kubectl("admin", "create", "namespace", namespace).passes()
        world.kubectl("admin", "apply", "-f", "-", stdin=as_list(render(world.namespace))).passes()
        until_refused(lambda: world.create("reviewer-risk", world.approval("cora")), "spec.approver must be you")
        yield world
