"""kopf's watch streams on a real API server: everything is told, in order, however short kopf keeps an object."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import builders, past
from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tunegate.api.markers import API_VERSION
from tunegate.controllers.dispatch.triggers import IDLE_SECONDS, PAGE
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.runtime.watching import Watching
from tunegate.settings import GovernedNamespace, Settings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
TEAM = "team"
THERE = 2 * PAGE + 1
"""Objects in three pages."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    members = (Member("admin", "admin", ("system:masters",)),)
    with running_control_plane(tmp_path_factory.mktemp("plane"), members) as running:
        install_definitions(running)
        yield running


class Told:
    """What was told of each job, in order: whether it is suspended, and whether it was deleted."""

    def __init__(self) -> None:
        self.jobs: dict[str, list[tuple[bool, bool]]] = {}
        self._changed = asyncio.Event()

    def report(self, _source: str, obj: Any, deleted: bool) -> None:
        self.jobs.setdefault(obj["metadata"]["name"], []).append((obj["spec"]["suspend"], deleted))
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(120):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


async def test_all_pages_of_the_first_listing_and_all_changes_are_told_in_order(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = plane.kubeconfig("admin")
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    told = Told()
    settings = Settings(
        governed=(GovernedNamespace(name=TEAM, policy="policy"),), trainer_image="t", operator_image="o", registry_host="r",
        kubeconfig=kubeconfig,
    )  # fmt: skip
    async with await KubeClient.connect(kubeconfig) as kube:
        await past.make_namespace(kube, TEAM)
        await past.make(
            kube, (builders.make_finetunejob(f"job-{number}", TEAM, suspend=False) for number in range(THERE))
        )
        watching = Watching(settings, told.report)
        running = asyncio.create_task(watching.run())
        await told.until(lambda: len(told.jobs) == THERE)
        await asyncio.sleep(3 * IDLE_SECONDS)  # Kopf has put away what it held of them.

        ref = ObjectRef(API_VERSION, "FineTuneJob", "job-0", TEAM)
        for suspended in (True, False):
            await kube.patch(ref, [{"op": "replace", "path": "/spec/suspend", "value": suspended}])
        await kube.delete(ref)
        await told.until(lambda: told.jobs["job-0"][-1][1])

        assert told.jobs["job-0"] == [(False, False), (True, False), (False, False), (False, True)]
        assert {len(changes) for name, changes in told.jobs.items() if name != "job-0"} == {1}
        running.cancel()
        await watching.stop()
