"""The Lease: one holder at a time, a standby takes over, and a holder that cannot renew gives up."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from tests.conftest import ClientFactory
from tests.support.stalling_proxy import StallingProxy
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.kube.lease import Lease, LeaseLost

pytestmark = pytest.mark.cluster


def lease(kube: KubeClient, namespace: str, identity: str) -> Lease:
    """A Lease with the times of production divided by five."""
    return Lease(kube, namespace, "operator", identity, duration=3.0, renew_deadline=2.0, pause=0.2)


async def test_one_of_two_holds_it_and_the_other_follows_when_it_is_released(kube: KubeClient, namespace: str) -> None:
    first, second = lease(kube, namespace, "first"), lease(kube, namespace, "second")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(4.5)
    assert not waiting.done(), "a renewed lease is not taken over, however long one waits"

    keeping.cancel()
    await first.release()
    async with asyncio.timeout(3):
        await waiting
    assert "second" == await _holder(kube, namespace)


async def test_a_holder_that_vanished_is_replaced_after_the_lease_has_run_out(kube: KubeClient, namespace: str) -> None:
    await lease(kube, namespace, "vanished").acquire()
    began = asyncio.get_running_loop().time()

    async with asyncio.timeout(15):
        await lease(kube, namespace, "second").acquire()

    assert asyncio.get_running_loop().time() - began >= 3.0


async def test_a_holder_learns_that_another_took_over(kube: KubeClient, namespace: str) -> None:
    first = lease(kube, namespace, "first")
    await first.acquire()
    taken = await kube.get(_ref(namespace))
    assert taken is not None
    taken["spec"]["holderIdentity"] = "thief"
    await kube.replace(taken)

    with pytest.raises(LeaseLost, match="another process"):
        async with asyncio.timeout(10):
            await first.keep()


async def test_a_holder_that_cannot_renew_gives_up_before_the_lease_runs_out(
    client_of: ClientFactory, namespace: str
) -> None:
    broken = await client_of("admin")
    first = lease(broken, namespace, "first")
    await first.acquire()
    broken._api.configuration.host = "https://127.0.0.1:1"
    began = asyncio.get_running_loop().time()

    with pytest.raises(LeaseLost, match="not renewed"):
        await first.keep()

    assert asyncio.get_running_loop().time() - began < first.duration


async def test_a_renewal_that_hangs_leaves_time_for_another(client_of: ClientFactory, namespace: str) -> None:
    client = await client_of("admin")
    configuration = client._api.configuration
    server = urlsplit(configuration.host)
    proxy = StallingProxy(str(server.hostname), int(server.port or 443))
    async with proxy.running() as port:
        configuration.host = f"https://127.0.0.1:{port}"
        # As the operator sets it: a request may take half of the deadline.
        election = KubeClient(client._api, timeout=5.0)
        held = Lease(election, namespace, "operator", "first", duration=15.0, renew_deadline=10.0, pause=0.2)
        await held.acquire()
        keeping = asyncio.create_task(held.keep())
        await asyncio.sleep(1)
        before = await _renewed(election, namespace)
        proxy.stall()
        await asyncio.sleep(8)
        assert not keeping.done()
        assert await _renewed(election, namespace) > before
        keeping.cancel()


async def _renewed(kube: KubeClient, namespace: str) -> str:
    found = await kube.get(_ref(namespace))
    assert found is not None
    return str(found["spec"]["renewTime"])


def _ref(namespace: str) -> ObjectRef:
    return ObjectRef("coordination.k8s.io/v1", "Lease", "operator", namespace)


async def _holder(kube: KubeClient, namespace: str) -> str:
    found = await kube.get(_ref(namespace))
    assert found is not None
    return str(found["spec"]["holderIdentity"])
