"""A server whose objects somebody took first, changed or replaced: real controller, real API server, real registry.

The admission rules are not in force in these namespaces: this is what the operator does by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NamespaceFactory
from tests.support.registry_process import running_registry
from tests.support.sealed_adapter import Bench, lora_weights
from tests.support.server_cluster import Site
from tunegate.errors import Terminal
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.registry.client import RegistryClient

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
LIST = "tunegate-adapters-server"


@pytest.fixture
async def site(operator_kube: KubeClient, namespaces: NamespaceFactory, tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/model.safetensors").write_bytes(lora_weights(1.0))
    with running_registry(tmp_path / "registry") as registry, RegistryClient(registry.host, plain_http=True) as client:
        made = await Site.prepare(
            operator_kube, Bench(tmp_path, registry, client), await namespaces("others"), replicas=0
        )
        yield made
        await made.clean()


def plain(site: Site, kind: str, name: str, version: str = "v1", **content: Any) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": site.namespace}, **content}


def found(site: Site) -> list[str]:
    return [one.payload["object"] for one in site.ledger.entries.values() if one.type == "ForeignObjectFound"]


async def in_place(site: Site) -> tuple[str, str]:
    """Return reason and message of the server's condition, empty while everything is in place."""
    conditions = (await site.get("ModelServer", "server"))["status"]["conditions"]
    return next(((one["reason"], one["message"]) for one in conditions if one["type"] == "ObjectsInPlace"), ("", ""))


async def documents(site: Site) -> Json:
    """Return name and content of what a pod made now would read."""
    deployment = await site.get("Deployment", "server-engine", "apps/v1")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    name = next(one["configMap"]["name"] for one in volumes if one["name"] == "documents")
    return await site.get("ConfigMap", name, "v1")


@pytest.mark.attack(51)
async def test_a_configuration_that_somebody_made_first_is_not_rolled_out(site: Site) -> None:
    await site.reconcile()
    before = (await documents(site))["metadata"]["name"]
    await slots(site, 5)
    await site.reconcile()
    planned = await documents(site)
    name, ours = planned["metadata"]["name"], planned["data"]
    # What an attacker has who knows every input: the name of a rollout that is to come.
    await slots(site, 16)
    await site.reconcile()
    await site.reconcile()
    await site.kube.delete(ObjectRef("v1", "ConfigMap", name, site.namespace))
    theirs = {**ours, "server.json": ours["server.json"].replace("sha256:", "sha256:0", 1)}
    await site.kube.create(plain(site, "ConfigMap", name, data=theirs))
    before = (await documents(site))["metadata"]["name"]
    await slots(site, 5)
    outcome = await site.reconcile()
    assert outcome.result == "waiting"
    assert (await documents(site))["metadata"]["name"] == before
    reason, message = await in_place(site)
    assert reason == "ForeignObject"
    assert name in message
    assert found(site) == [f"ConfigMap {site.namespace}/{name}"]

    await site.kube.delete(ObjectRef("v1", "ConfigMap", name, site.namespace))
    assert (await site.reconcile()).result == "done"
    assert (await documents(site))["data"] == ours
    assert await in_place(site) == ("", "")


async def slots(site: Site, count: int) -> None:
    """Let the server's engines hold so many adapters: what needs a new rollout."""
    server = await site.get("ModelServer", "server")
    metadata = {"name": "server", "namespace": site.namespace}
    spec = {**server["spec"], "maxCpuLoras": count}
    await site.kube.apply(
        {"apiVersion": server["apiVersion"], "kind": "ModelServer", "metadata": metadata, "spec": spec}
    )


async def listed(site: Site) -> list[str]:
    """Return the served names that pods are told to hold."""
    config_map = await site.get("ConfigMap", LIST, "v1")
    return [one["servedName"] for one in json.loads(config_map["data"]["adapters.json"])["adapters"]]


@pytest.mark.attack(51)
@pytest.mark.parametrize("way", ["edited", "made first", "immutable"])
async def test_a_list_of_adapters_that_somebody_wrote_is_written_again_and_recorded(site: Site, way: str) -> None:
    served = await site.approve("one")
    await site.reconcile()
    live = await site.get("ConfigMap", LIST, "v1")
    theirs = live["data"]["adapters.json"].replace("sha256:", "sha256:0", 1)
    if way == "edited":
        ref = ObjectRef("v1", "ConfigMap", LIST, site.namespace)
        await site.kube.patch(ref, [{"op": "replace", "path": "/data/adapters.json", "value": theirs}])
    else:
        await site.kube.delete(ObjectRef("v1", "ConfigMap", LIST, site.namespace))
        forged = plain(site, "ConfigMap", LIST, data={"adapters.json": theirs})
        if way == "immutable":
            forged |= {"immutable": True}
            forged["metadata"] |= {key: live["metadata"][key] for key in ("labels", "ownerReferences")}
        await site.kube.create(forged)
    assert (await site.reconcile()).result == "done"
    now = await site.get("ConfigMap", LIST, "v1")
    assert (now["data"], now.get("immutable")) == (live["data"], None)
    assert await listed(site) == [served]
    assert found(site) == ([] if way == "edited" else [f"ConfigMap {site.namespace}/{LIST}"])


@pytest.mark.attack(53)
async def test_revoking_is_not_kept_from_the_gateways_by_another_role_in_their_binding(site: Site) -> None:
    served = await site.approve("one")
    await site.reconcile()
    binding = ObjectRef(f"{RBAC}/v1", "RoleBinding", "tunegate-gateway-server", site.namespace)
    await until_routes_are_readable(site, wanted=True)
    await site.kube.delete(binding)
    await site.kube.create(plain(site, "Role", "nothing", f"{RBAC}/v1", rules=[]))
    subject = {"kind": "ServiceAccount", "name": "tunegate-serving", "namespace": site.namespace}
    await site.kube.create(
        plain(
            site, "RoleBinding", binding.name, binding.api_version, subjects=[subject],
            roleRef={"apiGroup": RBAC, "kind": "Role", "name": "nothing"},
        )
    )  # fmt: skip
    await until_routes_are_readable(site, wanted=False)
    await site.revoke("one")
    first = await site.reconcile()
    assert first.result == "done"
    routes = await site.get("ConfigMap", "tunegate-routes-server", "v1")
    assert served not in routes["data"]["routes.json"]
    assert (await site.reconcile()).result == "done"
    assert await listed(site) == []
    await until_routes_are_readable(site, wanted=True)
    assert found(site) == [f"RoleBinding {site.namespace}/{binding.name}"]


async def until_routes_are_readable(site: Site, *, wanted: bool) -> None:
    """The API server learns of bindings from a watch of its own, so a little later than they are written."""
    async with asyncio.timeout(30):
        while await may_read_routes(site) != wanted:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)


async def may_read_routes(site: Site) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {
            "user": f"system:serviceaccount:{site.namespace}:tunegate-serving",
            "resourceAttributes": {
                "verb": "watch", "resource": "configmaps", "name": "tunegate-routes-server", "namespace": site.namespace,
            },
        },
    }  # fmt: skip
    return bool((await site.kube.create(review))["status"]["allowed"])


@pytest.mark.attack(53, 69)
@pytest.mark.parametrize("owned", [True, False])
async def test_routes_that_nobody_can_change_are_made_again_and_closed(site: Site, owned: bool) -> None:
    served = await site.approve("one")
    await site.reconcile()
    ref = ObjectRef("v1", "ConfigMap", "tunegate-routes-server", site.namespace)
    live = await site.get("ConfigMap", ref.name, "v1")
    await site.kube.delete(ref)
    metadata = live["metadata"] if owned else {}
    kept = {key: metadata[key] for key in ("labels", "ownerReferences") if key in metadata}
    target = {"servedName": served, "release": "one", "weight": 100}
    text = json.dumps({"revision": 9, "routes": {"extractor": {"targets": [target]}}, "approved": [served]})
    forged = plain(site, "ConfigMap", ref.name, immutable=True, data={"routes.json": text})
    forged["metadata"] |= kept | {"finalizers": ["example.org/mine"]}
    await site.kube.create(forged)
    await site.revoke("one")
    assert (await site.reconcile()).result == "done"
    now = await site.get("ConfigMap", ref.name, "v1")
    assert served not in now["data"]["routes.json"]
    assert not now.get("immutable")
    assert (await site.reconcile()).result == "done"
    assert await listed(site) == []


@pytest.mark.attack(53)
async def test_routes_that_wait_for_what_somebody_made_depend_on_them_are_closed(site: Site) -> None:
    served = await site.approve("one")
    await site.reconcile()
    ref = ObjectRef("v1", "ConfigMap", "tunegate-routes-server", site.namespace)
    live = await site.get("ConfigMap", ref.name, "v1")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": ref.name, "uid": live["metadata"]["uid"]}
    dependent = plain(site, "ConfigMap", "theirs")
    dependent["metadata"] |= {
        "ownerReferences": [{**owner, "blockOwnerDeletion": True}],
        "finalizers": ["example.org/mine"],
    }
    await site.kube.create(dependent)
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
    await site.kube._request("DELETE", await site.kube._path(ref), "delete in the foreground", body=body)
    assert "deletionTimestamp" in (await site.get("ConfigMap", ref.name, "v1"))["metadata"]
    try:
        await site.revoke("one")
        assert (await site.reconcile()).result == "done"
        routes = (await site.get("ConfigMap", ref.name, "v1"))["data"]["routes.json"]
        assert served not in routes
    finally:
        theirs = ObjectRef("v1", "ConfigMap", "theirs", site.namespace)
        await site.kube.patch(theirs, [{"op": "remove", "path": "/metadata/finalizers"}])


@pytest.mark.attack(53)
async def test_closing_that_is_refused_keeps_no_gateway_from_being_asked_and_no_adapter_from_going(site: Site) -> None:
    served = await site.approve("one")
    await site.reconcile()
    assert await listed(site) == [served]
    await site.revoke("one")
    refuse = site.kube.apply

    async def apply(obj: Json, **options: Any) -> Json:
        if obj["metadata"]["name"] == "tunegate-routes-server":
            raise Terminal("Refused", "the site's own rule refuses this")
        return dict(await refuse(obj, **options))

    site.kube.apply = apply  # type: ignore[method-assign, assignment]
    worker, key = site.worker(), ObjectKey(site.namespace, "server")
    assert (await worker.run(key)).result == "terminal"
    second = await worker.run(key)
    assert second.result == "terminal"
    assert second.after is not None
    assert second.after >= 1
    assert await listed(site) == []
    assert "the site's own rule" in (await site.get("ModelServer", "server"))["status"]["message"]
    site.kube.apply = refuse  # type: ignore[method-assign]
    assert (await worker.run(key)).result == "done"
    assert served not in (await site.get("ConfigMap", "tunegate-routes-server", "v1"))["data"]["routes.json"]
    await worker.run(key)
    assert "the site's own rule" not in (await site.get("ModelServer", "server"))["status"]["message"]


@pytest.mark.attack(61)
async def test_a_service_of_somebody_else_is_told_and_holds_up_nothing_else(site: Site) -> None:
    spec = {"type": "ExternalName", "externalName": "evil.example"}
    await site.kube.create(plain(site, "Service", "server", spec=spec))
    outcome = await site.reconcile()
    assert outcome.result == "waiting"
    assert outcome.after is not None
    assert outcome.after <= 15
    reason, message = await in_place(site)
    assert (reason, f"Service {site.namespace}/server" in message) == ("ForeignObject", True)
    assert (await site.get("Service", "server", "v1"))["spec"]["externalName"] == "evil.example"
    await site.get("Deployment", "server-engine", "apps/v1")
    await site.get("PodDisruptionBudget", "server", "policy/v1")

    await site.kube.delete(ObjectRef("v1", "Service", "server", site.namespace))
    assert (await site.reconcile()).result == "done"
    assert (await site.get("Service", "server", "v1"))["spec"]["type"] == "ClusterIP"
    assert await in_place(site) == ("", "")


@pytest.mark.attack(61)
async def test_a_service_that_was_turned_into_an_alias_leads_to_the_gateways_again(site: Site) -> None:
    await site.reconcile()
    live = await site.get("Service", "server", "v1")
    live["spec"] = {"type": "ExternalName", "externalName": "evil.example"}
    await site.kube.replace(live)
    assert (await site.reconcile()).result == "done"
    now = await site.get("Service", "server", "v1")
    assert (now["spec"]["type"], now["spec"].get("externalName")) == ("ClusterIP", None)
    assert now["spec"]["selector"] == {
        "app.kubernetes.io/component": "serving", "app.kubernetes.io/managed-by": "tunegate", "tunegate.io/server": "server",
    }  # fmt: skip
