"""What watch streams tell while a listing is being read is not undone by its older pages, and what a listing found is not lost."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support import builders, past
from tests.support.control_plane import ControlPlane, Member, install_definitions, kubectl, running_control_plane
from tunegate.api.markers import API_VERSION
from tunegate.api.usage import Usage
from tunegate.controllers.dispatch.resync import COMPLETE_SECONDS, Resync
from tunegate.controllers.dispatch.routing import Routing
from tunegate.controllers.measurements import Measurements
from tunegate.controllers.quotas import Quotas
from tunegate.errors import Transient
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.writer import LedgerWriter
from tunegate.settings import GovernedNamespace, PersonLimits, Settings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
Json = dict[str, Any]
TEAM = "team"
SETTINGS = Settings(
    governed=(GovernedNamespace(name=TEAM, policy="policy"),), trainer_image="t", operator_image="o", registry_host="127.0.0.1:1",
    quotas=PersonLimits(open_jobs=2),
)  # fmt: skip


class PausingClient(KubeClient):
    """A client that waits after the last page of a kind, or fails there."""

    paused_at: str = ""
    failing_at: str = ""

    def prepare(self) -> None:
        self.read, self.go_on = asyncio.Event(), asyncio.Event()

    async def pages(self, api_version: str, kind: str, *args: Any, **options: Any) -> AsyncIterator[list[Json]]:
        async for page in super().pages(api_version, kind, *args, **options):
            yield page
        if kind == self.paused_at:
            self.read.set()
            await self.go_on.wait()
        if kind == self.failing_at:
            raise Transient("the API server does not answer")


class Site:
    """The listing and what it feeds."""

    def __init__(self, kube: PausingClient) -> None:
        self.kube = kube
        self.now = 0.0
        self.routing = Routing({TEAM: "policy"})
        self.quotas = Quotas(kube, LedgerWriter(kube), SETTINGS)
        self.measurements = Measurements()
        self.listing = Resync(kube, (TEAM,), self.routing, self.quotas, self.measurements, clock=lambda: self.now)

    async def reached(self) -> list[str]:
        """Return who has reached a bound, as the operator writes it."""
        await self.quotas.try_write()
        usage = await self.kube.get(ObjectRef(API_VERSION, Usage.KIND.kind, "people", TEAM))
        return [one["message"].partition(",")[0] for one in ((usage or {}).get("spec") or {}).get("reached") or []]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    members = (Member("admin", "admin", ("system:masters",)),)
    with running_control_plane(tmp_path_factory.mktemp("plane"), members) as running:
        install_definitions(running)
        subprocess.run([*kubectl(running), "create", "namespace", TEAM], check=True, capture_output=True)
        yield running


@pytest.fixture
async def site(plane: ControlPlane) -> AsyncIterator[Site]:
    async with await PausingClient.connect(plane.kubeconfig("admin")) as kube:
        kube.prepare()
        yield Site(kube)
        for one in await kube.list(API_VERSION, "FineTuneJob", TEAM):
            await kube.delete(ObjectRef(API_VERSION, "FineTuneJob", one["metadata"]["name"], TEAM))


async def test_what_was_made_changed_and_deleted_while_jobs_were_listed_is_known_afterwards(site: Site) -> None:
    names = ("ends", "goes", "stays")
    there = {name: await site.kube.create(builders.make_finetunejob(name, TEAM)) for name in names}
    site.kube.paused_at = "FineTuneJob"
    listing = asyncio.create_task(site.listing.run())
    await site.kube.read.wait()

    made = await site.kube.create(builders.make_finetunejob("made", TEAM))
    await past.make(site.kube, [past.ended_job("measured", TEAM, 3)])
    ended = there["ends"] | {"status": {"phase": "Failed"}}
    ended["metadata"] = ended["metadata"] | {"resourceVersion": "newer"}
    measured = await site.kube.get(ObjectRef(API_VERSION, "FineTuneJob", "measured", TEAM))
    assert measured is not None
    for obj in (made, ended, measured):
        site.listing.note(obj)
    site.listing.note(there["goes"], deleted=True)
    site.kube.go_on.set()
    await listing

    known = site.routing.known["FineTuneJob"]
    assert {key.name: facts.ended for key, facts in known.items()} == {
        "ends": True, "stays": False, "made": False, "measured": True,
    }  # fmt: skip
    assert [one.job for one in site.measurements.baselines(TEAM, past.digest(3))] == ["measured"]
    assert await site.reached() == ["has 2 open jobs"]


async def test_a_listing_of_what_is_open_does_not_bring_back_what_ended_meanwhile(site: Site) -> None:
    job = await site.kube.create(builders.make_finetunejob("ends", TEAM))
    await site.listing.run()
    site.kube.paused_at = "FineTuneJob"
    listing = asyncio.create_task(site.listing.run())
    await site.kube.read.wait()
    site.listing.note(job | {"status": {"phase": "Failed"}, "metadata": job["metadata"] | {"resourceVersion": "newer"}})
    site.kube.go_on.set()
    await listing

    assert site.routing.phases()["FineTuneJob", "Failed"] == 1


async def test_what_a_listing_found_before_it_failed_is_looked_at_after_the_next_one(site: Site) -> None:
    await site.kube.create(builders.make_finetunejob("goes", TEAM))
    await site.listing.run()
    await site.kube.delete(ObjectRef(API_VERSION, "FineTuneJob", "goes", TEAM))
    site.now += COMPLETE_SECONDS
    site.kube.failing_at = "ModelRelease"
    with pytest.raises(Transient):
        await site.listing.run()
    site.kube.failing_at = ""

    assert ("FineTuneJob", ObjectKey(TEAM, "goes")) in await site.listing.run()
    assert ("FineTuneJob", ObjectKey(TEAM, "goes")) not in await site.listing.run()
