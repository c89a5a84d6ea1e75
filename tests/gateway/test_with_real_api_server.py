"""What a gateway asks a real API server, with the rights that a server's objects give it and no others."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import NamespaceFactory
from tests.support.server_world import World
from tunegate.api.serving import TOKEN_AUDIENCE
from tunegate.gateway.access import Access
from tunegate.gateway.cluster import ApiServer, Unreachable
from tunegate.gateway.errors import ApiError
from tunegate.gateway.keys import ApiKeys
from tunegate.gateway.settings import Cluster
from tunegate.kube.client import KubeClient, ObjectRef

pytestmark = pytest.mark.cluster
ADDRESS = "10.0.0.7"
ROUTES = "tunegate-routes-server"


@dataclass
class Site:
    """A namespace with a gateway's identity in it."""

    namespace: str
    kube: KubeClient
    gateway: ApiServer
    kubeconfig: str

    def token(self, account: str, audience: str | None = None) -> str:
        command = ["kubectl", "--kubeconfig", self.kubeconfig, "-n", self.namespace, "create", "token", account]
        command += ["--audience", audience] if audience else []
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    async def put(self, name: str, text: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        await self.kube.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"routes.json": text}}
        )


@pytest.fixture
async def site(
    kube: KubeClient, namespaces: NamespaceFactory, kubeconfig: Callable[[str], str], tmp_path: Path
) -> AsyncIterator[Site]:
    namespace = await namespaces("serving")
    cluster = yaml.safe_load(await asyncio.to_thread(Path(kubeconfig("admin")).read_text))["clusters"][0]["cluster"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    for name in ("tunegate-serving", "client"):
        metadata = {"name": name, "namespace": namespace}
        await kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    world = World()
    for obj in world.step().applies:
        if obj["kind"] in {"Role", "RoleBinding"}:
            await kube.apply(_moved(dict(obj), namespace))
    reviewers = f"{namespace}-reviews-tokens"
    for cluster_scoped in _token_reviewer(reviewers, namespace):
        await kube.create(cluster_scoped)
    async with ApiServer(Cluster(cluster["server"], tmp_path / "token", tmp_path / "ca.crt")) as gateway:
        site = Site(namespace, kube, gateway, kubeconfig("admin"))
        (tmp_path / "token").write_text(site.token("tunegate-serving"))
        yield site
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        await kube.delete(ObjectRef("rbac.authorization.k8s.io/v1", kind, reviewers))


def _moved(obj: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Put an object of the planner into the test's namespace, without its owner."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    obj["metadata"] = {**metadata, "namespace": namespace}
    for subject in obj.get("subjects", ()):
        subject["namespace"] = namespace
    return obj


def _token_reviewer(name: str, namespace: str) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    subject = {"kind": "ServiceAccount", "name": "tunegate-serving", "namespace": namespace}
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    return [
        {**head, "kind": "ClusterRole", "rules": [rule]},
        {
            **head, "kind": "ClusterRoleBinding", "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        },
    ]  # fmt: skip


async def test_routes_are_followed_from_creation_to_deletion(site: Site) -> None:
    changes = site.gateway.follow(site.namespace, ROUTES, "routes")

    async def following() -> str | None:
        found = await asyncio.wait_for(anext(changes), 20)
        return None if found is None else str(found["data"]["routes.json"])

    assert await following() is None
    await site.put(ROUTES, "one")
    assert await following() == "one"
    begun = asyncio.get_running_loop().time()
    await site.put(ROUTES, "two")
    assert await following() == "two"
    assert asyncio.get_running_loop().time() - begun < 10
    await site.kube.delete(ObjectRef("v1", "ConfigMap", ROUTES, site.namespace))
    assert await following() is None
    await changes.aclose()  # type: ignore[attr-defined]


async def test_another_config_map_is_out_of_reach(site: Site) -> None:
    await site.put("tunegate-routes-other", json.dumps({}))
    changes = site.gateway.follow(site.namespace, "tunegate-routes-other", "routes")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(changes), 3)


async def test_the_credential_of_its_own_server_can_be_read_and_no_other_secret(site: Site) -> None:
    (name,) = [rule["resourceNames"][0] for rule in _gateway_rules() if rule["resources"] == ["secrets"]]
    for one in (name, "of-others"):
        secret = {"metadata": {"name": one, "namespace": site.namespace}, "stringData": {"config.json": "{}"}}
        await site.kube.create({"apiVersion": "v1", "kind": "Secret", **secret})
    assert await site.gateway.credential(site.namespace, name) == "{}"
    with pytest.raises(Unreachable, match="403"):
        await site.gateway.credential(site.namespace, "of-others")


def _gateway_rules() -> list[dict[str, Any]]:
    return list(next(obj for obj in World().step().applies if obj["kind"] == "Role")["rules"])


async def test_a_token_for_the_gateway_says_who_its_holder_is(site: Site) -> None:
    reviewed = await site.gateway.review(site.token("client", TOKEN_AUDIENCE), TOKEN_AUDIENCE)
    assert reviewed.authenticated
    assert reviewed.username == f"system:serviceaccount:{site.namespace}:client"
    assert f"system:serviceaccounts:{site.namespace}" in reviewed.groups


async def test_a_token_for_the_api_server_opens_no_gateway(site: Site) -> None:
    assert not (await site.gateway.review(site.token("client"), TOKEN_AUDIENCE)).authenticated


async def test_members_of_an_allowed_group_are_admitted_and_others_named(site: Site, tmp_path: Path) -> None:
    access = Access(ApiKeys(tmp_path / "none"), site.gateway)
    header = f"Bearer {site.token('client', TOKEN_AUDIENCE)}"
    await access.admit(header, [f"system:serviceaccounts:{site.namespace}"], ADDRESS)
    with pytest.raises(ApiError) as caught:
        await access.admit(header, ["analysts"], ADDRESS)
    assert caught.value.status == 403
    with pytest.raises(ApiError) as caught:
        await access.admit(header[:-4] + "AAAA", [f"system:serviceaccounts:{site.namespace}"], ADDRESS)
    assert caught.value.status == 401


async def test_without_an_api_server_nothing_is_said_about_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("own")
    async with ApiServer(Cluster("https://127.0.0.1:9", tmp_path / "token", None)) as nobody:
        with pytest.raises(Unreachable):
            await nobody.review("a.b.c", TOKEN_AUDIENCE)
