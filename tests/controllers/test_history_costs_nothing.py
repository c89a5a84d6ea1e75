"""What ended long ago costs no request: the same passes beside little history and beside ten times as much.

The pages of listings are small here, so that whatever lists history asks more often when there is more of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import builders, past
from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.counting_client import CountingClient
from tunegate.api.approval import Approval
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease
from tunegate.controllers.catalogue.pools_policies_suites import ComputePoolController, EvaluationSuiteController
from tunegate.controllers.dispatch.resync import COMPLETE_SECONDS, Resync
from tunegate.controllers.dispatch.routing import PARTS, Routing
from tunegate.controllers.finetunejob.controller import FineTuneJobController
from tunegate.controllers.modelrelease.controller import ModelReleaseController
from tunegate.controllers.quotas import Quotas
from tunegate.controllers.recent import Recent
from tunegate.controllers.services import Services
from tunegate.kube.client import ObjectKey, ObjectRef
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.approvals import recorded
from tunegate.reconcile.modelrelease.ledger_entries import subject_of
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
TEAM = "team"
JOBS, RELEASES, APPROVALS = 8, 6, 18
TIMES = 10
PAGE = 5
SETTINGS = Settings(
    governed=(GovernedNamespace(name=TEAM, policy="policy"),), trainer_image="t", operator_image="o", registry_host="127.0.0.1:1",
    registry_plain_http=True,
)  # fmt: skip
BUDGET = {"period": "Month", "maxDeviceHours": "100"}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Site:
    """An operator's parts on the control plane."""

    def __init__(self, kube: CountingClient, registry: RegistryClient) -> None:
        self.kube = kube
        self.services = Services(kube, SETTINGS, registry, LedgerWriter(kube), None)
        self.clock = Clock()
        self.routing = Routing({TEAM: "policy"})
        quotas = Quotas(kube, self.services.ledger, SETTINGS)
        self.listing = Resync(
            kube, SETTINGS.namespaces, self.routing, quotas, self.services.measurements, clock=self.clock
        )

    async def cost(self, work: Callable[[], Awaitable[Any]]) -> tuple[Counter[str], int]:
        """Return the requests of some work, and how many objects its listings brought."""
        self.kube.reset()
        await work()
        return Counter(self.kube.requests), self.kube.listed


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    members = (Member("admin", "admin", ("system:masters",)),)
    with running_control_plane(tmp_path_factory.mktemp("plane"), members) as running:
        install_definitions(running)
        asyncio.run(_prepare(running))
        yield running


async def _prepare(plane: ControlPlane) -> None:
    async with await CountingClient.connect(plane.kubeconfig("admin")) as kube:
        kube.reset()
        await past.make_namespace(kube, TEAM)
        for obj in (
            builders.make_computepool(), builders.make_evaluationsuite(), builders.make_modelserver(),
            builders.make_finetunejob("open"), builders.make_approvalpolicy(budget=BUDGET),
        ):  # fmt: skip
            await kube.create(obj)
        release = builders.make_modelrelease("open")
        release["status"] = {"phase": "PendingApproval", "serverRef": {"name": "server"}}
        await past.make(kube, [release])


@pytest.fixture
async def site(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr("tunegate.kube.client.PAGE", PAGE)
    async with await CountingClient.connect(plane.kubeconfig("admin")) as kube:
        kube.reset()
        with RegistryClient(SETTINGS.registry_host, plain_http=True) as registry:
            yield Site(kube, registry)


async def _revoke(site: Site, releases: Sequence[Json]) -> None:
    """Record in the ledger what the operator recorded when these were revoked."""
    for raw in releases:
        release = ModelRelease.model_validate(raw)
        fields = f"spec.subjectRef.name={release.name}"
        approvals = [
            Approval.model_validate(one) for one in await site.kube.list(API_VERSION, "Approval", TEAM, fields=fields)
        ]
        for entry in recorded(subject_of(release), approvals):
            await site.services.ledger.append(entry)
        await site.services.ledger.append(
            AuditEntry("ReleaseRevoked", "operator", subject_of(release), "stop", {"role": "risk"})
        )


async def test_ten_times_the_history_costs_the_same_requests(site: Site) -> None:
    pool, suite = ComputePoolController(site.services), EvaluationSuiteController(site.services)
    job, release = FineTuneJobController(site.services), ModelReleaseController(site.services)

    async def measure() -> dict[str, tuple[Counter[str], int]]:
        await site.services.ledger.of_subject("")  # The ledger takes in what was recorded since, once.
        await site.listing.run()
        site.clock.now += COMPLETE_SECONDS / PARTS
        return {
            "listing": await site.cost(site.listing.run),
            "pool": await site.cost(lambda: pool.reconcile(ObjectKey("", "pool"))),
            "suite": await site.cost(lambda: suite.reconcile(ObjectKey(TEAM, "suite"))),
            "open job": await site.cost(lambda: job.reconcile(ObjectKey(TEAM, "open"))),
            "revoked release": await site.cost(lambda: release.reconcile(ObjectKey(TEAM, "release-0"))),
        }

    await _revoke(site, await past.fill(site.kube, TEAM, 0, JOBS, RELEASES, APPROVALS))
    await measure()  # The client learns which kinds there are.
    site.clock.now += COMPLETE_SECONDS
    before = await measure()
    more = TIMES - 1
    made = await past.fill(site.kube, TEAM, 1000, more * JOBS, more * RELEASES, more * APPROVALS)
    await _revoke(site, made)
    site.clock.now += COMPLETE_SECONDS
    after = await measure()

    assert before == after
    assert "GET list Approval" in after["revoked release"][0]
    assert not any("SubjectAccessReview" in request for request in after["revoked release"][0])
    assert after["listing"][0].keys() >= {"GET list FineTuneJob", "GET list ModelRelease"}
    assert after["listing"][1] == 6, "pool, policy, suite, server, open job and open release"


async def test_only_what_is_open_is_looked_at_at_each_resync_and_pools_know_all_runs(site: Site) -> None:
    await site.listing.run()
    targets = await site.listing.run()

    assert {key.name for kind, key in targets if kind in ("FineTuneJob", "ModelRelease")} == {"open"}
    ended = past.ended_job("late", TEAM, 1)
    assert len(list(site.services.measurements.runs("pool"))) == JOBS * TIMES
    site.services.measurements.note(ended | {"metadata": ended["metadata"] | {"uid": "late"}})
    assert len(list(site.services.measurements.runs("pool"))) == JOBS * TIMES + 1


async def test_a_baseline_is_found_without_listing_jobs(site: Site) -> None:
    await site.listing.run()

    found = site.services.measurements.baselines(TEAM, past.digest(3))

    assert [one.job for one in found] == ["job-3"]
    live = await site.kube.get(ObjectRef(API_VERSION, "FineTuneJob", "job-3", TEAM))
    assert live is not None
    site.services.measurements.note(live, deleted=True)
    assert site.services.measurements.baselines(TEAM, past.digest(3)) == []


async def test_jobs_that_are_made_at_once_read_once_what_all_of_them_name(site: Site) -> None:
    await site.kube.create(builders.make_finetunejob("open-too"))
    controller = FineTuneJobController(replace(site.services, recent=Recent(600.0)))
    shared = ("ComputePool", "ModelServer", "ApprovalPolicy", "EvaluationSuite")

    def asked(requests: Counter[str]) -> Counter[str]:
        return Counter({request: count for request, count in requests.items() if request.endswith(shared)})

    first, _ = await site.cost(lambda: controller.reconcile(ObjectKey(TEAM, "open")))
    second, _ = await site.cost(lambda: controller.reconcile(ObjectKey(TEAM, "open-too")))
    assert {request.split()[-1] for request in asked(first)} == set(shared)
    assert not asked(second)
