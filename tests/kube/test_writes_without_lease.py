"""A process that does not hold the Lease sends nothing that changes anything; only the Lease says who may."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from tests.support.builders import make_evaluationsuite
from tests.support.silent_server import silent_server
from tunegate.kube.client import KubeClient, ObjectRef, _Resource
from tunegate.kube.errors import NotLeading
from tunegate.kube.lease import Lease, LeaseLost

SUITE = ObjectRef("tunegate.io/v1alpha1", "EvaluationSuite", "suite", "team")
KINDS = {"tunegate.io/v1alpha1": {"EvaluationSuite": "evaluationsuites"}, "v1": {"Event": "events"}}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class OneLease:
    """Keeps one Lease and answers as an API server does."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.fails = False

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        if self.fails:
            raise KeyError("spec")
        return self.lease

    async def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        self.lease = {**obj, "metadata": {**obj["metadata"], "resourceVersion": "1"}}
        return self.lease

    async def replace(self, obj: dict[str, Any]) -> dict[str, Any]:
        self.lease = obj
        return obj


async def test_without_the_lease_no_write_leaves_the_process() -> None:
    with silent_server() as server:
        api = ApiClient(Configuration(host=f"http://{server.host}"))
        async with KubeClient(api) as kube:
            leading = kube.writing_while(lambda: False)
            # Known before, so that nothing has to be asked.
            leading._resources = {
                version: {kind: _Resource(plural, True) for kind, plural in kinds.items()}
                for version, kinds in KINDS.items()
            }
            suite = make_evaluationsuite() | {"metadata": {"name": "suite", "namespace": "team", "uid": "u"}}
            for write in (
                leading.create(suite),
                leading.apply(suite, subresource="status"),
                leading.patch(SUITE, []),
                leading.replace(suite),
                leading.delete(SUITE),
                leading.create_event(suite, type_="Normal", reason="Any", message="any"),
                leading.add_finalizer({**suite, "metadata": {**suite["metadata"], "resourceVersion": "1"}}, "any"),
            ):
                with pytest.raises(NotLeading, match="not sent"):
                    await write
        assert server.count == 0


async def test_the_lease_may_be_written_by_until_it_was_not_renewed_in_time_or_is_given_up() -> None:
    clock, store = Clock(), OneLease()
    client: Any = store
    lease = Lease(client, "system", "operator", "first", clock=clock)
    assert not lease.held()
    await lease.acquire()
    assert lease.held()
    clock.now += lease.renew_deadline - 1
    assert lease.held()
    clock.now += 1
    assert not lease.held(), "others may take it only after the lease has run out, which is later"
    await lease.acquire()
    await lease.release()
    assert not lease.held()


@pytest.mark.timeout(60)
async def test_a_lease_that_another_took_or_that_cannot_be_read_is_lost() -> None:
    for fails in (False, True):
        clock, store = Clock(), OneLease()
        client: Any = store
        lease = Lease(client, "system", "operator", "first", clock=clock, pause=0.0)
        await lease.acquire()
        assert store.lease is not None
        store.lease["spec"]["holderIdentity"] = "second"
        store.lease["metadata"]["resourceVersion"] = "2"
        store.fails = fails
        clock.now += lease.renew_deadline if fails else 1
        with pytest.raises(LeaseLost):
            await lease.keep()
        assert not lease.held()
