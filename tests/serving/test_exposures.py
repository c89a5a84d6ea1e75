"""A server is reached from outside as its spec says, where the installation allows it: planned, and on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders import make_modelserver
from tests.support.control_plane import ControlPlane, Member, install_definitions, running_control_plane
from tests.support.governed_namespace import World as Cluster
from tests.support.programs import sources
from tests.support.server_world import SETTINGS, World, release
from tunegate.api.modelserver import ModelServer
from tunegate.controllers.modelserver.outside import look_outside
from tunegate.controllers.ownership import Ownership
from tunegate.kube.client import KubeClient, ObjectRef, Refused
from tunegate.manifests.exposure import API_VERSIONS
from tunegate.reconcile.modelserver import exposures, planner
from tunegate.reconcile.modelserver.observed import Observed, Outside
from tunegate.reconcile.plan import Plan

GATEWAY_API = "sigs.k8s.io/gateway-api@v1.4.0"
DOMAINS = ("models.example.com",)
INGRESS = {"host": "licenses.models.example.com", "ingressClassName": "nginx", "tlsSecretName": "licenses-host"}
ROUTE = {
    "host": "licenses.models.example.com",
    "gatewayRef": {"name": "site", "namespace": "gateways", "sectionName": "https"},
}
TEAM = "licenses-team"
Json = dict[str, Any]


def step(spec: Json, domains: tuple[str, ...] = DOMAINS, outside: Outside | None = None) -> Plan:
    world = World(spec={"routes": [{"name": "extract"}], **spec})
    world.put(release("one"))
    seen = replace(world.observed(), outside=outside or Outside())
    return planner.plan(seen, replace(SETTINGS, expose_domains=domains), world.now)


def leading(plan: Plan) -> list[Json]:
    return [dict(obj) for obj in plan.applies if obj["kind"] in API_VERSIONS]


def test_an_ingress_leads_every_path_of_the_host_to_the_service_and_is_the_servers_own() -> None:
    (made,) = leading(step({"expose": INGRESS}))
    assert made["kind"] == "Ingress"
    assert made["spec"]["ingressClassName"] == "nginx"
    assert made["spec"]["tls"] == [{"hosts": [INGRESS["host"]], "secretName": "licenses-host"}]
    (rule,) = made["spec"]["rules"]
    assert rule["host"] == INGRESS["host"]
    assert rule["http"]["paths"][0]["backend"] == {"service": {"name": "server", "port": {"number": 80}}}
    assert made["metadata"]["ownerReferences"][0]["kind"] == "ModelServer"
    assert "annotations" not in made["metadata"]


def test_an_http_route_names_the_sites_gateway() -> None:
    (made,) = leading(step({"expose": ROUTE}))
    assert (made["kind"], made["spec"]["hostnames"]) == ("HTTPRoute", [ROUTE["host"]])
    assert made["spec"]["parentRefs"] == [ROUTE["gatewayRef"]]
    assert made["spec"]["rules"][0]["backendRefs"] == [{"name": "server", "port": 80}]


def test_a_server_with_a_certificate_is_reached_at_its_https_port() -> None:
    tls = {"tls": {"secretName": "server-tls"}}
    (made,) = leading(step({"expose": INGRESS, **tls}))
    assert made["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] == {"number": 443}
    assert made["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"}
    (made,) = leading(step({"expose": ROUTE, **tls}))
    assert made["spec"]["rules"][0]["backendRefs"][0]["port"] == 443


@pytest.mark.parametrize(
    ("host", "domains"),
    [
        ("licenses.models.example.com", ()), ("licenses.example.com", DOMAINS), ("evilmodels.example.com", DOMAINS),
        ("models.example.com.evil.org", DOMAINS),
    ],
)  # fmt: skip
def test_a_host_outside_the_allowed_domains_is_not_exposed_and_the_server_says_so(
    host: str, domains: tuple[str, ...]
) -> None:
    plan = step({"expose": {**INGRESS, "host": host}}, domains, Outside(frozenset({"Ingress"})))
    assert leading(plan) == []
    assert [ref.kind for ref in plan.deletes if ref.kind in API_VERSIONS] == ["Ingress"]
    assert plan.status is not None
    assert "not exposed" in plan.status["message"]
    assert "external" not in plan.status


def test_a_cluster_without_the_gateway_api_is_named_and_holds_up_nothing() -> None:
    plan = step({"expose": ROUTE}, outside=Outside(unknown=frozenset({"HTTPRoute"})))
    assert leading(plan) == []
    assert plan.status is not None
    assert "does not know HTTPRoute" in plan.status["message"]
    assert any(obj["kind"] == "Deployment" for obj in plan.applies)


def test_what_shall_lead_to_a_server_no_more_is_deleted() -> None:
    both = Outside(frozenset({"Ingress", "HTTPRoute"}))
    plan = step({"expose": ROUTE}, outside=both)
    assert [ref.kind for ref in plan.deletes if ref.kind in API_VERSIONS] == ["Ingress"]
    assert plan.status is not None
    assert plan.status["external"] == ROUTE["host"]
    gone = step({}, outside=both)
    assert sorted(ref.kind for ref in gone.deletes if ref.kind in API_VERSIONS) == ["HTTPRoute", "Ingress"]


def test_neither_exposure_nor_what_one_client_may_ask_makes_pods_again() -> None:
    def digest(spec: Json) -> str:
        plan = step(spec)
        (deployment,) = (obj for obj in plan.applies if obj["kind"] == "Deployment")
        return str(deployment["metadata"]["annotations"]["tunegate.io/rollout"])

    quota = {"limits": {"perClient": {"requestsPerMinute": 5}}}
    provider = {"clients": {"oidc": {"issuer": "https://login.example.com", "audience": "models"}}}
    assert {digest(spec) for spec in ({}, {"expose": INGRESS}, quota, provider)} == {digest({})}
    assert digest({"limits": {"bodyKilobytes": 512}}) != digest({})


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    member = Member("admin", "tunegate-admin", ("system:masters",))
    with running_control_plane(tmp_path_factory.mktemp("plane"), (member,)) as running:
        install_definitions(running)
        install_definitions(running, (sources(GATEWAY_API) / "config/crd/standard",))
        Cluster(TEAM, "tunegate-system", running.kubeconfig).kubectl("admin", "create", "namespace", TEAM).passes()
        yield running


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[KubeClient]:
    async with await KubeClient.connect(plane.kubeconfig("admin")) as client:
        yield client


@pytest.mark.cluster
@pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster")
@pytest.mark.timeout(300)
async def test_the_api_server_takes_what_leads_to_a_server_and_leaves_it_as_planned(kube: KubeClient) -> None:
    for number, expose in enumerate((INGRESS, ROUTE)):
        raw = make_modelserver(f"server{number}", TEAM, routes=[], expose=expose)
        server = ModelServer.model_validate(await kube.create(raw))
        seen = Observed(server=server)
        made = exposures.wanted(seen, DOMAINS, planner.owner_of(seen))
        assert made is not None
        assert await kube.knows(made["apiVersion"], made["kind"])
        objects = Ownership(kube)
        assert (await objects.apply(made)).action == "apply"
        assert (await objects.apply(made)).action is None, "what the API server fills in is no difference"
        ref = ObjectRef.of(made)
        await kube.delete(ref)
        assert await kube.get(ref) is None


@pytest.mark.cluster
@pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("expose", [INGRESS, ROUTE], ids=["Ingress", "HTTPRoute"])
async def test_what_was_made_is_deleted_when_no_domain_is_allowed_any_more(kube: KubeClient, expose: Json) -> None:
    name = f"closed-{'gatewayRef' in expose:d}"
    server = ModelServer.model_validate(await kube.create(make_modelserver(name, TEAM, routes=[], expose=expose)))
    made = exposures.wanted(Observed(server=server), DOMAINS, planner.owner_of(Observed(server=server)))
    assert made is not None
    await Ownership(kube).apply(made)
    seen = Observed(server=server, outside=await look_outside(kube, server))
    plan = planner.plan(seen, replace(SETTINGS, expose_domains=()), World().now)
    assert plan.status is not None
    assert "not exposed" in plan.status["message"]
    assert [ref.name for ref in plan.deletes] == [f"tunegate-{name}"]
    for ref in plan.deletes:
        await kube.delete(ref)
    assert await kube.get(ObjectRef.of(made)) is None


@pytest.mark.cluster
@pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster")
@pytest.mark.timeout(300)
async def test_the_api_server_refuses_an_exposure_that_says_two_things_or_none(kube: KubeClient) -> None:
    refused = [
        {"host": "a.example.com"},
        {**INGRESS, **ROUTE},
        {**ROUTE, "tlsSecretName": "host"},
        {**INGRESS, "host": "*.example.com"},
        {**INGRESS, "host": "example"},
    ]
    for expose in refused:
        with pytest.raises(Refused):
            await kube.create(make_modelserver("refused", TEAM, routes=[], expose=expose))
    assert not await kube.knows("gateway.networking.k8s.io/v1", "NoSuchRoute")
