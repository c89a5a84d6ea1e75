"""Fixtures for tests against a real API server.

Tests marked `cluster` use the kubeconfigs of the local cluster, one per role. Each test gets namespaces of its own.
Without a cluster they are skipped, unless ``TUNEGATE_REQUIRE_CLUSTER=1`` turns that into a failure (as in CI).
With ``CLUSTER=current`` they use the cluster of ``KUBECONFIG``; tests with the mark `local_cluster(reason)` are skipped there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.waiting import Cluster
from tunegate.kube.client import KubeClient, ObjectRef

if TYPE_CHECKING:
    from tests.support.accounts import Accounts

USERS = Path(os.environ.get("TUNEGATE_STATE", "/var/lib/tunegate-local")) / "users"
OPERATOR = "system:serviceaccount:tunegate-system:tunegate-operator"
# How long one example takes says nothing on a shared machine.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

NamespaceFactory = Callable[[str], Awaitable[str]]
ClientFactory = Callable[[str], Awaitable[KubeClient]]
ON_CURRENT_CLUSTER = os.environ.get("CLUSTER", "local") == "current"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of tests in which a mark that ``-m`` asks for is not even named: importing all takes ten seconds."""
    if not collection_path.name.startswith("test_") or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text()
    return True if any(f"mark.{mark}" not in text for mark in _required(config.getoption("markexpr"))) else None


def _required(expression: str) -> list[str]:
    """Return the marks that every chosen test has: those of ``cluster and not e2e``, but none of ``cluster or e2e``."""
    terms = expression.split(" and ")
    return [term for term in terms if term.isidentifier()] if "(" not in expression and " or " not in expression else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip cluster tests if there is no cluster and none is required; on another cluster skip those that need the local one."""
    if ON_CURRENT_CLUSTER:
        for item in items:
            for mark in item.iter_markers("local_cluster"):
                item.add_marker(pytest.mark.skip(reason=f"needs the local cluster: {mark.args[0]}"))
        return
    if (USERS / "admin.kubeconfig").is_file() or os.environ.get("TUNEGATE_REQUIRE_CLUSTER") == "1":
        return
    skip = pytest.mark.skip(
        reason=f"no cluster: {USERS}/admin.kubeconfig is missing (start one with `make cluster-up`)"
    )
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """Kubeconfigs of people and accounts, for the cluster under test."""
    from tests.support.accounts import LocalAccounts, of_current_cluster

    if not ON_CURRENT_CLUSTER:
        yield LocalAccounts(tmp_path_factory.mktemp("accounts"))
        return
    if not os.environ.get("KUBECONFIG") or os.environ.get("CONFIRM") != "yes":
        pytest.exit(
            "CLUSTER=current needs KUBECONFIG, of a user with every right, and CONFIRM=yes: the tests create and delete namespaces,"
            " cluster roles, bindings and admission policies with names of their own",
            returncode=2,
        )
    with of_current_cluster(Path(os.environ["KUBECONFIG"])) as found:
        yield found


@pytest.fixture(scope="session")
def kubeconfig(accounts: Accounts) -> Callable[[str], str]:
    """Return the path of a role's kubeconfig: admin, engineer, reviewer-risk, reviewer-compliance, …"""
    return lambda role: str(accounts.of_role(role))


@pytest.fixture
async def client_of(kubeconfig: Callable[[str], str]) -> AsyncIterator[ClientFactory]:
    """Return a maker of clients by role; they are closed at the end."""
    clients: list[KubeClient] = []

    async def make(role: str) -> KubeClient:
        clients.append(await KubeClient.connect(kubeconfig(role)))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def kube(client_of: ClientFactory) -> KubeClient:
    """Client with all rights."""
    return await client_of("admin")


@pytest.fixture
async def operator_kube(accounts: Accounts) -> AsyncIterator[KubeClient]:
    """Client with all rights under the operator's name: where the chart is installed, only that name writes status."""
    async with await KubeClient.connect(str(accounts.named(OPERATOR, every_right=True))) as client:
        yield client


@pytest.fixture
async def namespaces(kube: KubeClient) -> AsyncIterator[NamespaceFactory]:
    """Return a maker of namespaces named `t-<area>-<random>`; they are deleted at the end, without waiting."""
    made: list[str] = []

    async def make(area: str) -> str:
        name = f"t-{area}-{secrets.token_hex(3)}"
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        made.append(name)
        return name

    yield make
    for name in made:
        await kube.delete(ObjectRef("v1", "Namespace", name))


@pytest.fixture
async def namespace(namespaces: NamespaceFactory) -> str:
    """One namespace for one test."""
    return await namespaces("test")


@pytest.fixture
async def cluster(kube: KubeClient) -> Cluster:
    """Waits for things to happen and tells what was there instead when they don't."""
    return Cluster(kube)
