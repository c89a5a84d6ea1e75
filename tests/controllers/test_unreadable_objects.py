"""An object that this version cannot read says so itself, and stops no other: on a real API server.

The API server refuses such objects, so they are put past it into its store, as a newer version would have left them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, cast

import pytest

from tests.support.builders import make_finetunejob
from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.governed_namespace import World
from tunegate.api.markers import API_VERSION
from tunegate.controllers.finetunejob.controller import FineTuneJobController
from tunegate.controllers.services import Controller, Services
from tunegate.controllers.worker import Outcome, Worker
from tunegate.errors import Terminal
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.writer import LedgerWriter
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
Json = dict[str, Any]
TEAM = "licenses-team"
IMAGE = "registry.invalid/i@sha256:" + "0" * 64
SETTINGS = Settings(
    governed=(GovernedNamespace(name=TEAM, policy="two-person"),), trainer_image=IMAGE, operator_image=IMAGE,
    engine_images=(IMAGE,), registry_host="registry.invalid",
)  # fmt: skip
MEMBERS = (Member("admin", "tunegate-admin", ("system:masters",)),)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("plane"), MEMBERS) as running:
        world = World(TEAM, "tunegate-system", running.kubeconfig)
        install_definitions(running)
        for namespace in (world.namespace, world.system):
            world.kubectl("admin", "create", "namespace", namespace).passes()
        yield running


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[KubeClient]:
    async with await KubeClient.connect(plane.kubeconfig("admin")) as client:
        yield client


async def reconcile(kube: KubeClient, name: str) -> Outcome:
    services = Services(kube, SETTINGS, RegistryClient(SETTINGS.registry_host), LedgerWriter(kube), None)
    return await Worker(FineTuneJobController(services), kube, services.ledger).run(ObjectKey(TEAM, name))


class Refused:
    """A controller whose look at the world the API server refuses."""

    kind: ClassVar[str] = "FineTuneJob"

    def __init__(self, manager: str) -> None:
        self.manager = manager

    async def reconcile(self, key: ObjectKey) -> None:
        raise Terminal("Forbidden", "list Pod: pods is forbidden (403)")

    async def stop(self, key: ObjectKey) -> None:
        """Nothing has to stop."""


async def status_of(kube: KubeClient, name: str) -> Json:
    live = await kube.get(ObjectRef(API_VERSION, "FineTuneJob", name, TEAM))
    assert live is not None
    return dict(live.get("status") or {})


def alter(plane: ControlPlane, kind: str, name: str, change: Json) -> None:
    """Change what the store holds of an object, past the API server."""
    key = f"/registry/tunegate.io/{kind}/{TEAM}/{name}"
    held = json.loads(plane.etcd.under(f"/registry/tunegate.io/{kind}/{TEAM}/")[key])
    plane.etcd.write(key, json.dumps({**held, **change}).encode())


async def test_it_says_so_in_its_own_status_and_others_go_on(plane: ControlPlane, kube: KubeClient) -> None:
    for name in ("odd", "fine"):
        await kube.create(make_finetunejob(name, TEAM))
        assert (await reconcile(kube, name)).result != "defect"
    before = await status_of(kube, "odd")
    alter(plane, "finetunejobs", "odd", {"status": {**before, "phase": "Teleporting"}})

    odd, fine = await reconcile(kube, "odd"), await reconcile(kube, "fine")

    assert (odd.result, fine.result) == ("terminal", "done")
    status = await status_of(kube, "odd")
    (condition,) = [one for one in status["conditions"] if one["type"] == "ObjectsInPlace"]
    assert (condition["status"], condition["reason"]) == ("False", "Unreadable")
    assert "FineTuneJob licenses-team/odd cannot be read by this version of Tunegate" in status["message"]
    assert "status.phase" in status["message"]
    assert status["phase"] == "Teleporting", "what the other version wrote stays"


async def test_a_request_that_is_refused_stands_in_the_status_of_whoever_writes_its_message(kube: KubeClient) -> None:
    await kube.create(make_finetunejob("refused", TEAM))
    assert (await reconcile(kube, "refused")).result == "done"
    before = (await status_of(kube, "refused"))["message"]
    ledger = LedgerWriter(kube)

    other = Worker(cast(Controller, Refused("tunegate-lineage")), kube, ledger)
    assert (await other.run(ObjectKey(TEAM, "refused"))).result == "terminal"
    assert (await status_of(kube, "refused"))["message"] == before

    own = Worker(cast(Controller, Refused("tunegate-operator")), kube, ledger)
    assert (await own.run(ObjectKey(TEAM, "refused"))).result == "terminal"
    status = await status_of(kube, "refused")
    assert status["message"] == "list Pod: pods is forbidden (403)"
    (condition,) = [one for one in status["conditions"] if one["type"] == "ObjectsInPlace"]
    assert (condition["status"], condition["reason"]) == ("False", "RequestRefused")

    assert (await reconcile(kube, "refused")).result == "done"
    status = await status_of(kube, "refused")
    assert status["message"] == before
    assert "ObjectsInPlace" not in {one["type"] for one in status["conditions"]}, "it passed"


async def test_what_needs_a_person_is_not_said_again_after_every_stop(kube: KubeClient) -> None:
    await kube.create(make_finetunejob("warned", TEAM))
    worker = Worker(cast(Controller, Refused("tunegate-operator")), kube, LedgerWriter(kube))
    key = ObjectKey(TEAM, "warned")

    ends = [(await end(key)).result for end in (worker.run, worker.stop, worker.run)]

    assert ends == ["terminal", "done", "terminal"]
    events = await kube.list("v1", "Event", TEAM, fields="involvedObject.name=warned")
    assert [one["message"] for one in events] == ["list Pod: pods is forbidden (403)"]
