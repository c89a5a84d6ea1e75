"""The operator's own rights let it create and delete an attempt's Job, and refuse every change of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import helm
from tests.support.control_plane import ControlPlane, Member, running_control_plane
from tunegate.kube.client import KubeClient, ObjectRef, Refused

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
GOVERNED, OPERATOR = "team-a", "t-operator"
MEMBERS = (Member("admin", "tunegate-admin", ("system:masters",)), Member("operator", OPERATOR))
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("plane"), MEMBERS) as running:
        yield running


async def bind_roles_of_the_chart(admin: KubeClient) -> None:
    """Give the user of this test what the chart gives the operator in a governed namespace and in its own."""
    rendered = helm.render(helm.values(governedNamespaces=[{"name": GOVERNED, "policy": "two-person"}]))
    for namespace in (GOVERNED, helm.SYSTEM):
        await admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        where = {"name": "tunegate-operator", "namespace": namespace}
        await admin.create({**helm.one(rendered, "Role", **where), "metadata": where})
        binding = {
            "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": where,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "tunegate-operator"},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": OPERATOR}],
        }  # fmt: skip
        await admin.create(binding)


def job(namespace: str) -> dict[str, Any]:
    container = {"name": "main", "image": "example.invalid/none"}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "attempt", "namespace": namespace},
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
    }  # fmt: skip


async def test_a_job_is_created_and_deleted_and_no_change_of_it_is_accepted(plane: ControlPlane) -> None:
    async with (
        await KubeClient.connect(plane.kubeconfig("admin")) as admin,
        await KubeClient.connect(plane.kubeconfig("operator")) as operator,
    ):
        await bind_roles_of_the_chart(admin)
        for namespace in (GOVERNED, helm.SYSTEM):
            made = await operator.create(job(namespace))
            suspended = {**made, "spec": {**made["spec"], "suspend": True}}
            with pytest.raises(Refused, match="cannot update"):
                await operator.replace(suspended)
            with pytest.raises(Refused, match="cannot patch"):
                await operator.apply(job(namespace))
            ref = ObjectRef.of(made)
            assert await admin.get(ref) == made
            await operator.delete(ref)
