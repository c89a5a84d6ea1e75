"""Ways around the admission rules: other kinds of patch, other paths, names that look alike, what Kubernetes says itself.

Where RBAC alone would refuse, the platform administrator tries: she holds every right of RBAC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.builders import make_modelserver
from tests.support.governed_namespace import OPERATOR, Answer, World, labelled, patch, pod, say_phase

pytestmark = pytest.mark.cluster
ADMIN = "platform-admin"
KUBERNETES_ONLY = "written by Kubernetes only"
FINALIZER = "tunegate.io/operator"


def collection(world: World, plural: str, **query: str) -> str:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    return f"/apis/tunegate.io/v1alpha1/namespaces/{world.namespace}/{plural}?{asked}"


def stored(world: World, kind: str, name: str) -> dict[str, Any]:
    found = world.kubectl("admin", "get", kind, name, "-n", world.namespace, "-o", "json").passes()
    made: dict[str, Any] = json.loads(found.out)
    return made


def changed(world: World, way: str, release: str, part: str, field: str, value: str) -> Answer:
    """Try to set a field of the release's spec or status as ``way`` says."""
    more = ["--subresource=status"] if part == "status" else []
    where = ("modelrelease", release, "-n", world.namespace)
    if way == "json":
        operations = [{"op": "add", "path": f"/{part}", "value": {}}] if part == "status" else []
        operations.append({"op": "add", "path": f"/{part}/{field}", "value": value})
        return world.kubectl(ADMIN, "patch", *where, "--type=json", "-p", json.dumps(operations), *more)
    if way == "merge":
        return patch(world, ADMIN, "modelrelease", release, {part: {field: value}}, *more)
    made = stored(world, "modelrelease", release)
    made.setdefault(part, {})[field] = value
    if way == "replace":
        return world.kubectl(ADMIN, "replace", "-f", "-", *more, stdin=made)
    del made["metadata"]["resourceVersion"]
    manager = ("--server-side", "--force-conflicts", "--field-manager=tunegate-operator")
    return world.kubectl(ADMIN, "apply", *manager, "-f", "-", *more, stdin=made)


@pytest.mark.attack(8)
@pytest.mark.parametrize("way", ["json", "merge", "replace", "apply"])
def test_no_kind_of_patch_changes_what_was_asked_for(world: World, release: str, way: str) -> None:
    changed(world, way, release, "spec", "risk", "High").refused("cannot change after creation")


@pytest.mark.attack(15)
@pytest.mark.parametrize("way", ["json", "merge", "replace", "apply"])
def test_no_kind_of_patch_writes_status_not_even_under_the_operators_manager(
    world: World, release: str, way: str
) -> None:
    changed(world, way, release, "status", "phase", "Approved").refused("only the operator writes status")


@pytest.mark.attack(17)
def test_approved_releases_are_not_deleted_as_a_collection(world: World) -> None:
    world.create("engineer", labelled(world, world.release("approved")), dry_run=False).passes()
    say_phase(world, "approved", "Serving", approvedTime="2026-01-01T00:00:00Z")
    path = collection(world, "modelreleases", fieldSelector="metadata.name%3Dapproved")
    world.kubectl(ADMIN, "delete", "--raw", path).refused("never deleted")
    assert stored(world, "modelrelease", "approved")["status"]["phase"] == "Serving"


@pytest.mark.attack(17)
def test_audit_records_are_not_deleted_as_a_collection(world: World) -> None:
    query = f"dryRun=All&fieldSelector=metadata.name%3D{world.record}"
    world.kubectl(ADMIN, "delete", "--raw", f"/apis/tunegate.io/v1alpha1/auditrecords?{query}").refused("never deleted")


@pytest.mark.attack(17)
@pytest.mark.parametrize("kind", ["approval", "modelrelease"])
def test_a_record_gets_no_owner_later(world: World, kind: str, release: str, approval: str) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "1"}
    name = {"approval": approval, "modelrelease": release}[kind]
    patch(world, ADMIN, kind, name, {"metadata": {"ownerReferences": [owner]}}).refused("metadata.ownerReferences")


@pytest.fixture(scope="module")
def held_server(world: World) -> Iterator[str]:
    """A ModelServer that the operator keeps from going until its pods are gone."""
    made = labelled(world, make_modelserver("held", world.namespace))
    made["metadata"]["finalizers"] = [FINALIZER]
    world.as_operator(made).passes()
    yield "held"
    free = json.dumps({"metadata": {"finalizers": None}})
    args = ("patch", "modelserver", "held", "-n", world.namespace, "--type=merge", "-p", free)
    world.kubectl("admin", *args, as_=OPERATOR, groups=("system:masters",)).passes()


@pytest.mark.attack(18)
@pytest.mark.parametrize("role", ["serving-operator", ADMIN])
def test_nobody_strips_the_operators_finalizer(world: World, held_server: str, role: str) -> None:
    patch(world, role, "modelserver", held_server, {"metadata": {"finalizers": None}}).refused("metadata.finalizers")
    remove = json.dumps([{"op": "remove", "path": "/metadata/finalizers/0"}])
    where = ("modelserver", held_server, "-n", world.namespace)
    world.kubectl(role, "patch", *where, "--type=json", "-p", remove).refused("metadata.finalizers")
    assert stored(world, "modelserver", held_server)["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.attack(21)
@pytest.mark.parametrize("label", ["kubernetes.io/metadata.name=free", "kubernetes.io/metadata.name-"])
def test_a_namespace_stays_governed_whatever_its_labels_say(world: World, label: str) -> None:
    world.kubectl(ADMIN, "label", "namespace", world.namespace, label, "--overwrite")
    world.create(ADMIN, pod(world.namespace)).refused("its pods are made by Tunegate only")


@pytest.mark.attack(9)
def test_a_release_made_again_cannot_bring_the_old_uid_along(world: World, release: str) -> None:
    old = stored(world, "modelrelease", release)["metadata"]["uid"]
    again = world.release("again")
    again["metadata"]["uid"] = old
    made = world.kubectl("engineer", "create", "-f", "-", "--dry-run=server", "-o", "json", stdin=again).passes()
    assert json.loads(made.out)["metadata"]["uid"] != old


@pytest.mark.attack(24)
def test_a_time_of_creation_that_the_author_writes_prolongs_nothing(world: World) -> None:
    made = world.approval(expirationTime="2099-06-01T00:00:00Z")
    made["metadata"]["creationTimestamp"] = "2099-01-01T00:00:00Z"
    world.create("reviewer-risk", made).refused("one year at most")


@pytest.mark.attack(1)
def test_a_generated_name_forges_no_approver(world: World) -> None:
    forged = world.approval("cora", "tunegate:model-risk")
    forged["metadata"] = {"namespace": world.namespace, "generateName": "forged-"}
    world.create("reviewer-risk", forged).refused("spec.approver must be you")


@pytest.mark.attack(34)
def test_an_approval_of_a_dry_run_leaves_nothing_to_count(world: World) -> None:
    made = world.approval()
    world.create("reviewer-risk", made).passes()
    name = made["metadata"]["name"]
    world.kubectl("admin", "get", "approval", name, "-n", world.namespace).refused("not found")


@pytest.mark.attack(37)
@pytest.mark.parametrize("name", ["Ravi", "r\u0430vi", "ravi ", "ravi\u200b", "\uff52avi"])
def test_a_name_that_only_looks_alike_is_another_name(world: World, name: str) -> None:
    world.create("reviewer-risk", world.approval(name)).refused("spec.approver must be you")


@pytest.mark.attack(37)
def test_of_two_keys_of_one_name_the_api_server_and_the_rules_see_the_same(world: World) -> None:
    made = json.dumps(world.approval())
    own = '"approver": {"username": "ravi", "groups": ["tunegate:model-risk"]}'
    forged = own.replace("ravi", "cora")
    assert own in made

    def posted(text: str, validation: str) -> Answer:
        path = collection(world, "approvals", dryRun="All", fieldValidation=validation)
        return world.kubectl("reviewer-risk", "create", "--raw", path, "-f", "-", stdin=text)

    twice = made.replace(own, f"{own}, {forged}")
    posted(twice, "Strict").refused("duplicate field")
    posted(twice, "Ignore").refused("spec.approver must be you")
    shown = posted(made.replace(own, f"{forged}, {own}"), "Ignore").passes().out
    assert json.loads(shown)["spec"]["approver"]["username"] == "ravi"


@pytest.mark.attack(37)
def test_a_huge_reason_is_refused(world: World) -> None:
    world.create("reviewer-risk", world.approval(reason="x" * 100_000)).refused("spec.reason: Too long")


@pytest.mark.attack(40)
@pytest.mark.parametrize("role", ["engineer", ADMIN])
def test_nobody_writes_the_last_message_of_a_stage(world: World, stage_pod: str, role: str) -> None:
    answer = patch(world, role, "pod", stage_pod, {"status": {"message": "sha256:0"}}, "--subresource=status")
    answer.refused(KUBERNETES_ONLY if role == ADMIN else 'resource "pods/status"')


@pytest.mark.attack(40)
@pytest.mark.parametrize(
    "made",
    [
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"labels": {"kubernetes.io/service-name": "server"}},
            "endpoints": [{"addresses": ["10.9.8.7"]}], "ports": [{"name": "https", "port": 8443}],
        },
        {
            "apiVersion": "v1", "kind": "Endpoints", "metadata": {},
            "subsets": [{"addresses": [{"ip": "10.9.8.7"}], "ports": [{"port": 8443}]}],
        },
    ],
    ids=lambda made: made["kind"],
)  # fmt: skip
def test_nobody_leads_clients_of_a_gateway_elsewhere(world: World, made: dict[str, Any]) -> None:
    metadata = {**made["metadata"], "name": "server", "namespace": world.namespace}
    world.create(ADMIN, {**made, "metadata": metadata}).refused(KUBERNETES_ONLY)


def test_kubernetes_itself_goes_on_saying_how_things_stand(world: World, stage_pod: str) -> None:
    labels = {"app": "engine"}
    container = {"name": "main", "image": "example.invalid/none"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    metadata = {"name": "engine", "namespace": world.namespace}
    deployment = {"selector": {"matchLabels": labels}, "template": template}
    service = {"selector": labels, "ports": [{"port": 80}]}
    world.as_operator(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment}
    ).passes()
    world.as_operator({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}).passes()

    def waits_for(what: str, condition: str, *which: str) -> None:
        args = ("wait", what, *which, f"--for={condition}", "--timeout=60s", "-n", world.namespace)
        world.kubectl("admin", *args).passes()

    waits_for(f"pod/{stage_pod}", "jsonpath={.status.containerStatuses[0].state.waiting}")
    waits_for("deployment/engine", "jsonpath={.status.unavailableReplicas}=1")
    waits_for("endpointslice", "create", "-l", "kubernetes.io/service-name=engine")


@pytest.mark.attack(20)
@pytest.mark.parametrize("way", ["exec", "run", "attach", "portForward", "/exec"])
def test_a_pod_is_not_entered_through_its_node(world: World, stage_pod: str, way: str) -> None:
    node = world.kubectl("admin", "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").passes().out
    proxy = f"/api/v1/nodes/{node}/proxy"
    path = f"{proxy}/{way}/{world.namespace}/{stage_pod}/main?command=sh&cmd=sh&output=1"
    world.kubectl(ADMIN, "create", "--raw", path, "-f", "-", stdin={}).refused("not reached through their node")
    world.kubectl(ADMIN, "get", "--raw", f"{proxy}/healthz").passes()
