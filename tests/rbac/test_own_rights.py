"""What the chart lets the operator read is enough for its looks at rules and powers, on a real API server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.support import helm
from tests.support.accounts import Accounts
from tests.support.ledgers import Store
from tunegate.admission.definitions import definitions
from tunegate.admission.guard import Guard
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.ledger.writer import LedgerWriter
from tunegate.rbac.watch import PowerWatch

pytestmark = pytest.mark.cluster
RBAC = "rbac.authorization.k8s.io"
API = f"{RBAC}/v1"


@pytest.fixture
async def operator(kube: KubeClient, namespace: str, accounts: Accounts) -> AsyncIterator[KubeClient]:
    """A user of this test's own who holds what the operator holds: in the cluster, and in its namespace."""
    name = f"t-operator-{secrets.token_hex(3)}"
    for kind, where in (("ClusterRole", {}), ("Role", {"namespace": namespace})):
        home = {} if kind == "ClusterRole" else {"namespace": helm.SYSTEM}
        role = helm.one(helm.render(helm.values()), kind, "tunegate-operator", **home)
        metadata = {"name": name, **where}
        await kube.create({**role, "metadata": metadata})
        binding = {"apiVersion": API, "kind": f"{kind}Binding", "metadata": metadata}
        subject = {"apiGroup": RBAC, "kind": "User", "name": name}
        reference = {"apiGroup": RBAC, "kind": kind, "name": name}
        await kube.create({**binding, "roleRef": reference, "subjects": [subject]})
    try:
        async with await KubeClient.connect(str(accounts.named(name))) as client:
            yield client
    finally:
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            await kube.delete(ObjectRef(API, kind, name))


async def test_the_operator_reads_rules_crds_and_rbac_by_its_own_rights(operator: KubeClient, namespace: str) -> None:
    now, powers, rules = datetime.now(UTC), Store(), Store()
    await PowerWatch(operator, LedgerWriter(powers), system=namespace, namespaces=[]).look(now)
    assert {one["spec"]["type"] for one in powers.records} == {"PowersChanged"}

    lease = "tunegate-operator-admission"
    guard = Guard(operator, LedgerWriter(rules), definitions(), namespace=namespace, lease=lease)
    await guard.look()
    # A cluster that has the CRDs of another version is told from one that has none.
    assert "is missing" not in (guard.frozen or "")
    assert len(rules.records) == 1
