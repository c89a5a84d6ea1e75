"""Governed namespaces run what the operator made: no foreign pods, and no way into the operator's."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.governed_namespace import OPERATOR, World, pod

pytestmark = pytest.mark.cluster
ADMIN = "platform-admin"
EDITORS = ("editors", "system:authenticated")
GOVERNED = "its pods are made by Tunegate only"
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "foreign"}},
    "spec": {"containers": [{"name": "main", "image": "example.invalid/none"}]},
}


def workload(world: World, kind: str) -> dict[str, Any]:
    group = "batch/v1" if kind in ("Job", "CronJob") else "v1" if kind == "ReplicationController" else "apps/v1"
    finite: dict[str, Any] = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    special: dict[str, dict[str, Any]] = {
        "Job": {"template": finite, "backoffLimit": 0},
        "CronJob": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": finite}}},
        "ReplicationController": {"selector": {"app": "foreign"}, "template": TEMPLATE},
    }
    spec = special.get(kind, {"selector": {"matchLabels": {"app": "foreign"}}, "template": TEMPLATE})
    if kind == "StatefulSet":
        spec["serviceName"] = "foreign"
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": "foreign", "namespace": world.namespace},
        "spec": spec,
    }


@pytest.fixture(scope="module")
def running(world: World) -> str:
    """A Job as the operator makes it; its pod comes from the Job controller, so that path must stay open."""
    job = workload(world, "Job")
    job["metadata"]["name"] = "stage"
    world.as_operator(job).passes()
    deadline = time.monotonic() + 30
    while not (name := world.kubectl("admin", "get", "pods", "-n", world.namespace, "-o", "name").passes().out.strip()):
        assert time.monotonic() < deadline, "the Job controller could not make the pod"
        time.sleep(0.5)
    return name.removeprefix("pod/")


@pytest.mark.attack(19)
def test_pod_by_a_person_is_refused(world: World) -> None:
    world.create(ADMIN, pod(world.namespace)).refused(GOVERNED)


@pytest.mark.attack(19)
@pytest.mark.parametrize(
    "kind", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"]
)
def test_workload_by_a_person_is_refused(world: World, kind: str) -> None:
    world.create(ADMIN, workload(world, kind)).refused(GOVERNED)


@pytest.mark.attack(19)
def test_pod_by_a_service_account_of_the_namespace_is_refused(world: World) -> None:
    account = f"system:serviceaccount:{world.namespace}:default"
    world.create("admin", pod(world.namespace), as_=account, groups=("system:masters",)).refused(GOVERNED)


def test_pod_in_another_namespace_is_nobodys_business(world: World) -> None:
    world.create(ADMIN, pod(world.system)).passes()


@pytest.mark.attack(20)
@pytest.mark.parametrize("way", ["exec?command=sh&container=main", "attach", "portforward?ports=80"])
def test_connection_into_a_pod_is_refused(world: World, running: str, way: str) -> None:
    path = f"/api/v1/namespaces/{world.namespace}/pods/{running}/{way}"
    world.kubectl(ADMIN, "create", "--raw", path, "-f", "-", stdin={}).refused("nobody opens a connection")


@pytest.mark.attack(20)
@pytest.mark.parametrize("what", ["pods", "services"])
def test_proxy_is_refused(world: World, running: str, what: str) -> None:
    path = f"/api/v1/namespaces/{world.namespace}/{what}/{running}/proxy/"
    world.kubectl(ADMIN, "get", "--raw", path).refused("nobody opens a connection")


@pytest.mark.attack(20)
def test_exec_by_the_operator_is_refused_too(world: World, running: str) -> None:
    path = f"/api/v1/namespaces/{world.namespace}/pods/{running}/exec?command=sh&container=main"
    answer = world.kubectl(
        "admin", "create", "--raw", path, "-f", "-", stdin={}, as_=OPERATOR, groups=("system:masters",)
    )
    answer.refused("nobody opens a connection")


@pytest.mark.attack(19)
def test_ephemeral_container_is_refused(world: World, running: str) -> None:
    args = ("debug", running, "-n", world.namespace, "--image=example.invalid/shell", "--container=shell")
    world.kubectl(ADMIN, *args).refused(GOVERNED)


@pytest.mark.attack(19)
def test_edit_of_the_operators_pod_is_refused(world: World, running: str) -> None:
    args = ("set", "image", f"pod/{running}", "main=example.invalid/other", "-n", world.namespace)
    world.kubectl(ADMIN, *args).refused(GOVERNED)


@pytest.mark.attack(19)
def test_edit_and_scaling_of_the_operators_deployment_are_refused(world: World) -> None:
    made = workload(world, "Deployment")
    made["metadata"]["name"] = "engine"
    made["spec"]["replicas"] = 0
    world.as_operator(made).passes()
    scale = ("scale", "deployment/engine", "--replicas=1", "-n", world.namespace)
    world.kubectl(ADMIN, *scale).refused(GOVERNED)
    image = ("set", "image", "deployment/engine", "main=example.invalid/other", "-n", world.namespace)
    world.kubectl(ADMIN, *image).refused(GOVERNED)


def test_person_may_stop_a_pod(world: World, running: str) -> None:
    world.kubectl(ADMIN, "delete", "pod", running, "-n", world.namespace, "--dry-run=server").passes()


def managed(world: World, kind: str, name: str = "workspace") -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "tunegate"}
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": world.namespace, "labels": labels},
    }
    if kind == "PersistentVolumeClaim":
        made["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return made


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret", "PersistentVolumeClaim"])
def test_managed_object_by_a_person_is_refused(world: World, kind: str) -> None:
    # Whoever maintains the installation makes none either, and may delete what somebody planted.
    world.create(ADMIN, managed(world, kind)).refused("belongs to the operator")
    plain = managed(world, kind)
    del plain["metadata"]["labels"]
    world.create(ADMIN, plain).passes()


@pytest.mark.attack(19)
def test_managed_object_is_not_edited_relabelled_or_deleted_by_a_person(world: World) -> None:
    world.as_operator(managed(world, "ConfigMap", "routes")).passes()
    words = ("create", "rolebinding", "editors", "--clusterrole=edit", f"--group={EDITORS[0]}", "-n", world.namespace)
    world.kubectl("admin", *words).passes()
    where = ("configmap", "routes", "-n", world.namespace)
    edit = world.kubectl(ADMIN, "patch", *where, "--type=merge", "-p", '{"data": {"routes.json": "{}"}}')
    edit.refused("belongs to the operator")
    world.kubectl(ADMIN, "label", *where, "app.kubernetes.io/managed-by-").refused("belongs to the operator")
    world.kubectl("admin", "delete", *where, as_="nils", groups=EDITORS).refused("belongs to the operator")
    world.kubectl(ADMIN, "delete", *where, "--dry-run=server").passes()


@pytest.mark.attack(35)
def test_token_of_the_operator_is_not_handed_out(world: World) -> None:
    answer = world.kubectl(ADMIN, "create", "token", "tunegate-operator", "-n", world.system)
    answer.refused("given to its pods only")
