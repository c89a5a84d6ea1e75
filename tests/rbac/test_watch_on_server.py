"""The look at powers on a real API server: a right that is given and taken away leaves two records.

The ledger is one of the test's own; what other tests do to RBAC meanwhile is passed over.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import ClientFactory
from tests.support.ledgers import Store
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.ledger.writer import LedgerWriter
from tunegate.rbac.holders import replayed
from tunegate.rbac.watch import API, PowerWatch
from tunegate.runtime import metrics
from tunegate.runtime.powers import keep_looking

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
POWER = "impersonate people"


class Impersonators:
    """A group of this test's own that may impersonate, or not."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self.name = f"t-powers-{secrets.token_hex(3)}"

    async def give(self) -> None:
        rule = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}
        meta = {"apiVersion": API, "metadata": {"name": self.name}}
        await self._kube.create({**meta, "kind": "ClusterRole", "rules": [rule]})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": self.name}
        group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": self.name}
        await self._kube.create({**meta, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [group]})

    async def take(self) -> None:
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            await self._kube.delete(ObjectRef(API, kind, self.name))


@pytest.fixture
async def group(kube: KubeClient) -> AsyncIterator[Impersonators]:
    made = Impersonators(kube)
    yield made
    await made.take()


def watch(kube: KubeClient, store: Store) -> PowerWatch:
    return PowerWatch(kube, LedgerWriter(store), system="tunegate-system", namespaces=["licenses-team"])


def about(store: Store, group: Impersonators) -> list[Json]:
    return [one["spec"]["payload"] for one in store.records if group.name in str(one["spec"]["payload"])]


@pytest.mark.attack(6)
async def test_a_right_to_impersonate_that_comes_and_goes_leaves_two_records(
    kube: KubeClient, group: Impersonators
) -> None:
    store = Store()
    looking = watch(kube, store)
    assert await looking.look(datetime.now(UTC))
    assert about(store, group) == []

    await group.give()
    (told,) = [words for words in await looking.look(datetime.now(UTC)) if group.name in words]
    assert f"group {group.name} can now: {POWER}" in told
    assert f"group {group.name}" in replayed(one["spec"] for one in store.records)[POWER]

    await group.take()
    (told,) = [words for words in await looking.look(datetime.now(UTC)) if group.name in words]
    assert f"group {group.name} can no longer: {POWER}" in told
    given, taken = about(store, group)
    assert f"group {group.name}" in given[f"added {POWER}"]
    assert f"group {group.name}" in taken[f"removed {POWER}"]
    assert given["since"] < taken["since"] or given["since"] == taken["since"] != ""


async def test_another_process_goes_on_where_the_ledger_stands(kube: KubeClient, group: Impersonators) -> None:
    store = Store()
    await group.give()
    await watch(kube, store).look(datetime.now(UTC))
    later = watch(kube, store)
    assert not [words for words in await later.look(datetime.now(UTC)) if group.name in words]
    await group.take()
    last = store.records[-1]["spec"]["time"]
    assert [words for words in await watch(kube, store).look(datetime.now(UTC)) if group.name in words]
    assert about(store, group)[-1]["since"] == last


async def test_a_change_stands_in_log_and_metrics_and_what_cannot_be_read_has_none(
    kube: KubeClient, group: Impersonators, client_of: ClientFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def kept(client: KubeClient, seconds: float) -> None:
        task = asyncio.create_task(keep_looking(watch(client, Store()), 60))
        await asyncio.sleep(seconds)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def metric(name: str, **labels: str) -> float | None:
        return metrics.REGISTRY.get_sample_value(name, labels)

    await group.give()
    before = metric("tunegate_powers_changed_total") or 0
    with caplog.at_level(logging.WARNING):
        await kept(kube, 3)
    assert f"group {group.name}" in caplog.text
    assert (metric("tunegate_power_holders", power=POWER) or 0) >= 1
    assert (metric("tunegate_powers_changed_total") or 0) > before
    caplog.clear()
    await kept(await client_of("outsider"), 2)
    assert "cannot be read or recorded" in caplog.text
    assert metric("tunegate_power_holders", power=POWER) is None
