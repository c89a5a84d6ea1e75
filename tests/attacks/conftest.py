"""The governed namespace, with a release, an approval and a pod to attack. No operator works for it.

Where a controller has to answer, the test has the release reconciled in its own process (``settle``).
"""

from __future__ import annotations

import pytest

from tests.support.governed_namespace import World, labelled, pod, world
from tests.support.release_cluster import catalogue, job, registry, settle

__all__ = ["catalogue", "job", "registry", "settle", "world"]


@pytest.fixture(scope="session")
def release(world: World) -> str:
    world.create("engineer", labelled(world, world.release("target")), dry_run=False).passes()
    return "target"


@pytest.fixture(scope="session")
def approval(world: World) -> str:
    made = labelled(world, world.approval())
    world.create("reviewer-risk", made, dry_run=False).passes()
    return str(made["metadata"]["name"])


@pytest.fixture(scope="session")
def stage_pod(world: World) -> str:
    world.as_operator(pod(world.namespace, "stage")).passes()
    return "stage"
