"""What the chart lets the operator do is enough to compare, take back and make again its objects, on a real API server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NamespaceFactory
from tests.support import builders, helm
from tests.support.accounts import Accounts
from tests.support.registry_process import running_registry
from tests.support.sealed_adapter import Bench, lora_weights
from tests.support.server_cluster import Site
from tunegate.api.basemodel import BaseModel
from tunegate.controllers.ownership import Ownership
from tunegate.kube.client import KubeClient, ObjectRef, Refused
from tunegate.manifests.workspace import credential_of
from tunegate.reconcile.catalogue.basemodel import Observed, plan
from tunegate.registry.client import RegistryClient
from tunegate.settings import Settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
API = f"{RBAC}/v1"


@pytest.fixture
async def places(namespaces: NamespaceFactory) -> tuple[str, str]:
    """A governed namespace, and one that stands for the operator's own."""
    return await namespaces("governed"), await namespaces("system")


@pytest.fixture
async def operator(kube: KubeClient, places: tuple[str, str], accounts: Accounts) -> AsyncIterator[KubeClient]:
    """A user of this test's own who holds what the operator holds: in the cluster, there, and in its own namespace."""
    name, (governed, system) = f"t-operator-{secrets.token_hex(3)}", places
    rendered = helm.render(helm.values(governedNamespaces=[{"name": governed, "policy": "two-person"}]))
    for kind, source, target in (("ClusterRole", "", ""), ("Role", governed, governed), ("Role", helm.SYSTEM, system)):
        where = {"namespace": target} if target else {}
        role = helm.one(rendered, kind, "tunegate-operator", **({"namespace": source} if source else {}))
        await kube.create({**role, "metadata": {"name": name, **where}})
        subject = {"apiGroup": RBAC, "kind": "User", "name": name}
        reference = {"apiGroup": RBAC, "kind": kind, "name": name}
        binding = {"apiVersion": API, "kind": f"{kind}Binding", "metadata": {"name": name, **where}}
        await kube.create({**binding, "roleRef": reference, "subjects": [subject]})
    try:
        async with await KubeClient.connect(str(accounts.named(name))) as client:
            yield client
    finally:
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            await kube.delete(ObjectRef(API, kind, name))


async def test_a_servers_objects_are_made_compared_and_taken_back_by_the_operators_own_rights(
    operator_kube: KubeClient, operator: KubeClient, places: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/model.safetensors").write_bytes(lora_weights(1.0))
    with running_registry(tmp_path / "registry") as registry, RegistryClient(registry.host, plain_http=True) as client:
        made = await Site.prepare(operator_kube, Bench(tmp_path, registry, client), places[0], replicas=0)
        site = replace(made, kube=operator)
        try:
            assert (await site.reconcile()).result == "done"
            service = await made.get("Service", "server", "v1")
            await operator_kube.replace({**service, "spec": {**service["spec"], "externalIPs": ["10.9.8.7"]}})
            binding = await made.get("RoleBinding", "tunegate-gateway-server", API)
            await operator_kube.delete(ObjectRef.of(binding))
            other = {**binding, "metadata": {"name": binding["metadata"]["name"], "namespace": places[0]}}
            await operator_kube.create({**other, "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "nothing"}})
            routes = await made.get("ConfigMap", "tunegate-routes-server", "v1")
            await operator_kube.replace({**routes, "immutable": True})

            assert (await site.reconcile()).result == "done"
            assert "externalIPs" not in (await made.get("Service", "server", "v1"))["spec"]
            now = await made.get("RoleBinding", "tunegate-gateway-server", API)
            assert now["roleRef"]["name"] == "tunegate-gateway-server"
            assert not (await made.get("ConfigMap", "tunegate-routes-server", "v1")).get("immutable")
            kinds = {
                one.payload["object"].split()[0] for one in site.ledger.entries.values() if "object" in one.payload
            }
            assert kinds == {"Service", "RoleBinding", "ConfigMap"}
        finally:
            await made.clean()


async def test_an_attempt_at_hashing_is_made_again_by_the_operators_own_rights(
    kube: KubeClient, operator: KubeClient, places: tuple[str, str]
) -> None:
    objects = await attempt_at_hashing(kube, places[1])
    ownership = Ownership(operator)
    for obj in objects:
        assert (await ownership.create(obj)).action == "create"
    secret, config_map, job = objects
    # No Secret of the operator's own namespace is read: this one is made again.
    with pytest.raises(Refused):
        await operator.get(ObjectRef.of(secret))
    await kube.apply({**secret, "metadata": {"name": secret["metadata"]["name"], "namespace": places[1]}, "data": {}})
    assert (await ownership.create(secret)).action == "create"
    live = await kube.get(ObjectRef.of(secret))
    assert live is not None
    assert credential_of(live) == '{"auths": {}}'
    assert (await ownership.create(config_map)).action is None
    assert (await ownership.create(job)).action is None


async def attempt_at_hashing(kube: KubeClient, system: str) -> list[Json]:
    """Return what the planner of a base model creates, with an owner that exists."""
    raw = builders.make_basemodel(source="pvc://data/base")
    raw["metadata"]["uid"] = "0f0e0d0c-0000-0000-0000-000000000000"
    settings = Settings(
        trainer_image=builders.IMAGE, operator_image=builders.IMAGE, registry_host="registry.invalid",
        system_namespace=system,
    )  # fmt: skip
    seen = Observed(raw, BaseModel.model_validate(raw), True, (), {}, '{"auths": {}}')
    made: list[Json] = [dict(obj) for obj in plan(seen, settings, datetime.now(UTC)).creates]
    owner = await kube.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": system}}
    )
    reference = {
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "controller": True,
    }  # fmt: skip
    for obj in made:
        obj["metadata"] = {**obj["metadata"], "ownerReferences": [reference]}
        if obj["kind"] == "Job":
            obj["spec"] = {**obj["spec"], "suspend": True}
    return made
