"""The controller against a real API server and a real registry: what it creates is accepted, and follows approvals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NamespaceFactory
from tests.support.builders import DIGEST, make_approval
from tests.support.registry_process import running_registry
from tests.support.sealed_adapter import Bench, lora_weights
from tests.support.server_cluster import Site
from tests.support.waiting import Cluster
from tunegate.api.conditions import find, rfc3339
from tunegate.api.modelrelease import ModelReleaseStatus
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.ledger.writer import LedgerWriter
from tunegate.registry.client import RegistryClient

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture
async def site(operator_kube: KubeClient, namespaces: NamespaceFactory, tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/model.safetensors").write_bytes(lora_weights(1.0))
    with running_registry(tmp_path / "registry") as registry, RegistryClient(registry.host, plain_http=True) as client:
        bench = Bench(tmp_path, registry, client)
        made = await Site.prepare(operator_kube, bench, await namespaces("serving"), replicas=0)
        yield made
        await made.clean()


async def listed(site: Site) -> list[str]:
    """Return the served names that pods are told to hold."""
    config_map = await site.get("ConfigMap", "tunegate-adapters-server", "v1")
    return [one["servedName"] for one in json.loads(config_map["data"]["adapters.json"])["adapters"]]


async def live_routes(site: Site) -> Json:
    config_map = await site.get("ConfigMap", "tunegate-routes-server", "v1")
    return dict(json.loads(config_map["data"]["routes.json"]))


async def test_an_approved_release_is_handed_to_the_pods_and_a_revoked_one_is_taken_back(site: Site) -> None:
    assert (await site.reconcile()).result == "done"
    assert await listed(site) == []
    served = await site.approve("one")
    assert (await site.reconcile()).result == "done"
    assert await listed(site) == [served]
    assert (await live_routes(site))["approved"] == [served]
    server = await site.get("ModelServer", "server")
    assert server["status"]["adapters"][0]["state"] == "Loading"
    assert server["status"]["message"].startswith("scaled to zero")
    await site.revoke("one")
    outcome = await site.reconcile()
    assert outcome.writes["apply"] == 1
    assert (await live_routes(site))["approved"] == []
    await site.reconcile()
    assert await listed(site) == []
    told = [(one.type, one.subject.name) for one in site.ledger.entries.values()]
    assert [one for one in told if one[0] == "RolloutStarted"] == [("RolloutStarted", "server")]
    assert [one for one in told if one[0] == "AdapterListed"] == [("AdapterListed", "one")]


@pytest.mark.attack(42)
async def test_an_overridden_release_is_handed_to_the_pods_and_taken_back_when_its_time_is_over(site: Site) -> None:
    glass = {"role": "break-glass", "groups": ["duty"], "maxSeconds": 60}
    statement = await site.ask("urgent", breakGlass=glass)
    assert (await site.decide("urgent")).phase == "PendingApproval"
    await site.reconcile()
    assert (await live_routes(site))["approved"] == []
    await give_right(site, "dora", "override", "break-glass")
    ends = datetime.now(UTC) + timedelta(seconds=15)
    release = await site.get("ModelRelease", "urgent")
    given = make_approval(
        "dora-overrides", site.namespace, role="break-glass", decision="Override", expirationTime=rfc3339(ends),
        subjectRef={"kind": "ModelRelease", "name": "urgent", "uid": release["metadata"]["uid"]},
        subjectDigest=statement.digest, approver={"username": "dora", "groups": ["duty"]},
    )  # fmt: skip
    await site.kube.create(given)
    assert (await site.decide("urgent")).phase == "Overridden"
    await site.reconcile()
    assert (await live_routes(site))["approved"] == [statement.served_name]
    assert await listed(site) == [statement.served_name]

    await asyncio.sleep((ends - datetime.now(UTC)).total_seconds())
    status = await site.decide("urgent")
    assert status.phase == "PendingApproval"
    assert status.override is not None
    assert status.override.outcome == "Expired"
    await site.reconcile()
    assert (await live_routes(site))["approved"] == []
    types = [one.type for one in await LedgerWriter(site.kube).of_subject(release["metadata"]["uid"])]
    assert types == ["ReleaseRequested", "ApprovalRecorded", "BreakGlassGranted", "BreakGlassEnded"]


@pytest.mark.attack(25)
async def test_a_role_taken_away_between_approval_and_rollout_stops_the_rollout_until_it_is_given_back(
    site: Site,
) -> None:
    running = await site.approve("running")
    await site.reconcile()
    statement = await site.ask("late", roles=[{"name": "risk", "groups": ["night-shift"]}])
    assert (await site.decide("late")).phase == "PendingApproval"
    await give_right(site, "vera", "approve", "risk")
    release = await site.get("ModelRelease", "late")
    given = make_approval(
        "vera-approves", site.namespace, role="risk", expirationTime=rfc3339(datetime.now(UTC) + timedelta(hours=1)),
        subjectRef={"kind": "ModelRelease", "name": "late", "uid": release["metadata"]["uid"]},
        subjectDigest=statement.digest, approver={"username": "vera", "groups": ["night-shift"]},
    )  # fmt: skip
    await site.kube.create(given)
    assert (await site.decide("late")).phase == "Approved"

    await site.kube.delete(ObjectRef(f"{RBAC}/v1", "RoleBinding", "risk", site.namespace))
    status = await settled(site, "late", "QuorumLost", "ApproverNotAuthorized")
    assert "vera-approves (NotAuthorized)" in status.message
    await site.reconcile()
    assert await listed(site) == [running]

    await bind(site, "vera", "risk")
    assert (await settled(site, "late", "QuorumLost", "ApprovalsInForce")).phase == "Approved"
    await site.reconcile()
    assert set(await listed(site)) == {running, statement.served_name}

    await site.kube.delete(ObjectRef(f"{RBAC}/v1", "RoleBinding", "risk", site.namespace))
    assert (await settled(site, "late", "QuorumLost", "ApproverNotAuthorized")).phase == "RollingOut"
    await site.reconcile()
    assert set(await listed(site)) == {running, statement.served_name}, "what a server holds it keeps"


async def settled(site: Site, name: str, condition: str, reason: str) -> ModelReleaseStatus:
    """Let the release's controller look until it says so: RBAC takes a moment to hear of its own changes."""
    for _ in range(20):
        status = await site.decide(name)
        if (found := find(status.conditions, condition)) is not None and found.reason == reason:
            return status
        await asyncio.sleep(0.5)
    raise AssertionError(f"{condition} is not {reason}: {status}")


async def give_right(site: Site, who: str, verb: str, role: str) -> None:
    """Give a person the verb on a role in the namespace, which counting asks for."""
    rule = {"apiGroups": ["tunegate.io"], "resources": ["approvalroles"], "resourceNames": [role], "verbs": [verb]}
    metadata = {"name": role, "namespace": site.namespace}
    await site.kube.create({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]})
    await bind(site, who, role)


async def bind(site: Site, who: str, role: str) -> None:
    binding = {
        "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": role, "namespace": site.namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": who}],
    }  # fmt: skip
    await site.kube.create(binding)


async def test_a_statement_that_is_not_the_approved_one_is_left_out_beside_a_good_one(site: Site) -> None:
    await site.approve("forged")
    good = await site.approve("good")
    await site.forge("forged", DIGEST)
    await site.reconcile()
    assert await listed(site) == [good]
    adapters = (await site.get("ModelServer", "server"))["status"]["adapters"]
    states = {one["releaseRef"]["name"]: one["state"] for one in adapters}
    assert states == {"forged": "LeftOut", "good": "Loading"}
    reason = next(one["reason"] for one in adapters if one["releaseRef"]["name"] == "forged")
    assert "not the approved one" in reason


async def test_a_settled_server_is_not_written_again(site: Site) -> None:
    await site.approve("one")
    for _ in range(3):
        await site.reconcile()
    before = {
        kind: (await site.get(kind, name, version))["metadata"]["resourceVersion"]
        for kind, name, version in (
            ("Deployment", "server-engine", "apps/v1"),
            ("ConfigMap", "tunegate-routes-server", "v1"),
            ("Service", "server", "v1"),
            ("PodDisruptionBudget", "server", "policy/v1"),
            ("Role", "tunegate-gateway-server", "rbac.authorization.k8s.io/v1"),
        )
    }
    outcome = await site.reconcile()
    assert "status" not in outcome.writes
    for kind, name, version in (
        ("Deployment", "server-engine", "apps/v1"),
        ("ConfigMap", "tunegate-routes-server", "v1"),
        ("Service", "server", "v1"),
        ("PodDisruptionBudget", "server", "policy/v1"),
        ("Role", "tunegate-gateway-server", "rbac.authorization.k8s.io/v1"),
    ):
        assert (await site.get(kind, name, version))["metadata"]["resourceVersion"] == before[kind], kind


async def test_client_keys_are_used_only_from_a_secret_that_is_opened_to_servers(site: Site) -> None:
    secret: Json = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": site.namespace},
        "stringData": {"team": "correct-horse-battery-staple"},
    }  # fmt: skip
    await site.kube.create(secret)
    patch = {"name": "server", "namespace": site.namespace}
    server = await site.get("ModelServer", "server")
    spec = {**server["spec"], "clients": {"apiKeysSecretName": "keys"}}
    await site.kube.apply({"apiVersion": server["apiVersion"], "kind": "ModelServer", "metadata": patch, "spec": spec})
    await site.reconcile()
    assert "is not used" in (await site.get("ModelServer", "server"))["status"]["message"]
    assert '"secretName": "keys"' not in json.dumps(
        (await site.get("Deployment", "server-engine", "apps/v1"))["spec"]["template"]
    )
    secret["metadata"]["labels"] = {"tunegate.io/usable-by-servers": "true"}
    await site.kube.apply(secret)
    await site.reconcile()
    volumes = (await site.get("Deployment", "server-engine", "apps/v1"))["spec"]["template"]["spec"]["volumes"]
    assert {"name": "api-keys", "secret": {"secretName": "keys", "optional": True, "defaultMode": 420}} in volumes


async def test_a_certificate_is_used_only_from_a_secret_of_its_type_that_is_opened_to_servers(site: Site) -> None:
    patch = {"name": "server", "namespace": site.namespace}
    server = await site.get("ModelServer", "server")
    spec = {**server["spec"], "tls": {"secretName": "certificate"}}
    await site.kube.apply({"apiVersion": server["apiVersion"], "kind": "ModelServer", "metadata": patch, "spec": spec})
    secret: Json = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "certificate", "namespace": site.namespace}, "stringData": {"tls.crt": "c", "tls.key": "k"},
    }  # fmt: skip
    await site.kube.create(secret)
    await site.reconcile()
    assert "Secret certificate of spec.tls is missing" in (await site.get("ModelServer", "server"))["status"]["message"]
    secret["metadata"]["labels"] = {"tunegate.io/usable-by-servers": "true"}
    await site.kube.apply(secret)
    await site.reconcile()
    await site.reconcile()
    assert (await site.get("ModelServer", "server"))["status"]["endpoint"].startswith("https://")
    pod = (await site.get("Deployment", "server-engine", "apps/v1"))["spec"]["template"]["spec"]
    assert {"name": "tls", "secret": {"secretName": "certificate", "defaultMode": 420}} in pod["volumes"]


async def test_everything_goes_with_the_server(site: Site, cluster: Cluster) -> None:
    await site.reconcile()
    await site.kube.delete(ObjectRef("tunegate.io/v1alpha1", "ModelServer", "server", site.namespace))
    for kind, name, version in (
        ("Deployment", "server-engine", "apps/v1"),
        ("ConfigMap", "tunegate-routes-server", "v1"),
        ("Service", "server", "v1"),
        ("RoleBinding", "tunegate-gateway-server", "rbac.authorization.k8s.io/v1"),
    ):
        await cluster.gone(ObjectRef(version, kind, name, site.namespace))
