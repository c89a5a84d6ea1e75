"""A revoke closes its route while whatever the operator asks outside itself hangs.

The operator is a process that has just been started, so that it knows nothing and asks for everything. etcd and API server
are the test's own; the faults are a registry that never answers, a store that sends its headers and then a byte at a
time, and a folder whose files give no byte.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.object_store import secret
from tests.support.silent_server import HEADERS_ONLY, silent_server
from tests.support.stopped_site import StoppedSite
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease
from tunegate.controllers.approvals import read_approvals
from tunegate.controllers.modelserver.controller import ModelServerController
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.writer import LedgerWriter
from tunegate.registry.client import RegistryClient
from tunegate.runtime.operator import EXIT_LEASE_LOST
from tunegate.settings import GovernedNamespace, Settings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(600),
]
ROOT = Path(__file__).parents[2]
MEMBERS = (Member("admin", "tunegate-admin", ("system:masters",)),)
SECONDS = 45.0
"""Far more than a stop takes, far less than any hung call: a loaded machine may be slow."""
NOWHERE = "127.0.0.1:9"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("plane"), MEMBERS) as running:
        install_definitions(running)
        yield running


@pytest.fixture
async def site(plane: ControlPlane) -> AsyncIterator[StoppedSite]:
    kubeconfig = plane.kubeconfig("admin")
    async with await KubeClient.connect(kubeconfig) as kube:
        yield StoppedSite(kube, kubeconfig, f"t-{secrets.token_hex(3)}")


@pytest.mark.attack(53)
async def test_a_revoke_acts_at_a_cold_start_with_300_releases_and_a_registry_that_never_answers(
    site: StoppedSite, tmp_path: Path
) -> None:
    await site.prepare(releases=300)
    with silent_server() as registry:
        async with site.operator(tmp_path, registry.host):
            # All workers of the releases hang, and the one that looks at the server.
            await asyncio.to_thread(registry.wait_for, 5, SECONDS)
            assert await site.routes()
            await site.decide("Revoke", "stop")
            await site.until_closed(SECONDS)
            await site.until_phase("Revoked", SECONDS)


@pytest.mark.attack(53)
@pytest.mark.parametrize("decision", ["Reject", "Withdraw"])
async def test_a_reject_and_a_withdrawal_act_while_the_registry_never_answers(
    site: StoppedSite, tmp_path: Path, decision: str
) -> None:
    await site.prepare()
    with silent_server() as registry:
        async with site.operator(tmp_path, registry.host):
            await asyncio.to_thread(registry.wait_for, 1, SECONDS)
            await site.decide(decision, "stop")
            await site.until_closed(SECONDS)
            await site.until_phase("Denied" if decision == "Reject" else "PendingApproval", SECONDS)


@pytest.mark.attack(53)
async def test_the_route_of_a_deleted_release_closes_though_a_finalizer_keeps_it_and_the_registry_never_answers(
    site: StoppedSite, tmp_path: Path
) -> None:
    await site.prepare()
    await site.kube.add_finalizer(await site.get("ModelRelease", "live"), "example.com/kept")
    with silent_server() as registry:
        async with site.operator(tmp_path, registry.host):
            await asyncio.to_thread(registry.wait_for, 1, SECONDS)
            await site.kube.delete(ObjectRef(API_VERSION, "ModelRelease", "live", site.name))
            await site.until_closed(SECONDS)


@pytest.mark.attack(53)
async def test_a_revoke_acts_while_the_anchors_folder_hangs(site: StoppedSite, tmp_path: Path) -> None:
    await site.prepare()
    await site.decide("Approve", "earlier")
    folder = tmp_path / "anchors"
    folder.mkdir()
    pipe = folder / "checkpoint-0000000001-00000000.json"
    os.mkfifo(pipe)
    async with site.operator(tmp_path, NOWHERE, ANCHOR_FOLDER=str(folder)):
        # Returns when the operator has opened it, to record the earlier approval; no byte ever comes.
        held = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)
        await site.decide("Revoke", "stop")
        await site.until_closed(SECONDS)
        await site.until_phase("Revoked", SECONDS)
        assert not await site.recorded("ReleaseRevoked"), "nothing is recorded before the anchors were read"
    os.close(held)


@pytest.mark.attack(53)
async def test_a_revoke_acts_while_the_anchors_bucket_answers_a_byte_at_a_time(
    site: StoppedSite, tmp_path: Path
) -> None:
    await site.prepare()
    await site.decide("Approve", "earlier")
    credentials = tmp_path / "store"
    credentials.mkdir()
    with silent_server(HEADERS_ONLY, trickle=0.5) as store:
        for name, value in secret(f"http://{store.host}").items():
            (credentials / name).write_text(value)
        settings = {"ANCHOR_BUCKET": "anchors", "ANCHOR_STORE": str(credentials)}
        async with site.operator(tmp_path, NOWHERE, **settings):
            # The record of the earlier approval is what asks for the anchors.
            await asyncio.to_thread(store.wait_for, 1, SECONDS)
            await site.decide("Revoke", "stop")
            await site.until_closed(SECONDS)
            await site.until_phase("Revoked", SECONDS)
            assert not await site.recorded("ReleaseRevoked"), "nothing is recorded before the anchors were read"


@pytest.mark.attack(53)
async def test_a_revoke_acts_while_another_approval_of_the_release_cannot_be_read(
    site: StoppedSite, plane: ControlPlane, tmp_path: Path
) -> None:
    await site.prepare()
    strange = await site.decide("Approve", "strange")
    strange["spec"]["decision"] = "Abstain"
    plane.etcd.write(f"/registry/tunegate.io/approvals/{site.name}/live-strange", json.dumps(strange).encode())
    release = ModelRelease.model_validate(await site.get("ModelRelease", "live"))
    assert (await read_approvals(site.kube, release)).unreadable == ("live-strange",)
    with silent_server() as registry:
        async with site.operator(tmp_path, registry.host):
            await asyncio.to_thread(registry.wait_for, 1, SECONDS)
            await site.decide("Revoke", "stop")
            await site.until_closed(SECONDS)
            await site.until_phase("Revoked", SECONDS)


@pytest.mark.attack(53)
async def test_a_route_taken_out_of_the_servers_spec_closes_while_the_registry_never_answers(
    site: StoppedSite, tmp_path: Path
) -> None:
    await site.prepare()
    with silent_server() as registry:
        async with site.operator(tmp_path, registry.host):
            await asyncio.to_thread(registry.wait_for, 1, SECONDS)
            server = await site.get("ModelServer", "server")
            await site.kube.replace({**server, "spec": {**server["spec"], "routes": []}})
            await site.until_closed(SECONDS)
            assert (await site.get("ModelRelease", "live"))["status"]["phase"] == "Serving"


async def test_the_tenth_stop_of_a_server_acts_as_the_first_did(site: StoppedSite) -> None:
    await site.prepare()
    settings = Settings(
        trainer_image="none", operator_image="none", registry_host=NOWHERE,
        governed=(GovernedNamespace(name=site.name, policy=site.name),),
    )  # fmt: skip
    ledger = LedgerWriter(site.kube)
    services = Services(site.kube, settings, RegistryClient(NOWHERE), ledger, None)
    worker, key = Worker(ModelServerController(services), site.kube, ledger), ObjectKey(site.name, "server")
    for number in range(10):
        await site.open(f"revoked-{number}")
        outcome = await worker.stop(key)
        assert (outcome.result, outcome.writes["apply"]) == ("done", 1), number
        assert await site.routes() == {}
        assert (await worker.stop(key)).writes["apply"] == 0


async def test_an_operator_that_lost_its_lease_ends_while_its_workers_hang(site: StoppedSite, tmp_path: Path) -> None:
    await site.prepare(releases=10)
    with silent_server() as registry:
        async with site.operator(tmp_path, registry.host) as operator:
            await asyncio.to_thread(registry.wait_for, 5, SECONDS)
            ref = ObjectRef("coordination.k8s.io/v1", "Lease", "tunegate-operator", site.system)
            lease = await site.kube.get(ref)
            assert lease is not None
            other = {**lease["spec"], "holderIdentity": "another"}
            await site.kube.apply({**plain(ref), "spec": other}, manager="another")
            async with asyncio.timeout(SECONDS):
                assert await operator.wait() == EXIT_LEASE_LOST


def plain(ref: ObjectRef) -> dict[str, object]:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata}
