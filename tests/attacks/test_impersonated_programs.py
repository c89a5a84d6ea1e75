"""Kubernetes' `edit` may impersonate the service accounts of its namespace: that makes nobody a program of Tunegate."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.builders import make_computepool
from tests.support.governed_namespace import OPERATOR, Answer, Json, World, pod

pytestmark = pytest.mark.cluster
NOT_ITS_POD = "does not come from a pod of it"
AUTHENTICATED = "system:authenticated"


def config(namespace: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "routes", "namespace": namespace}}


def bind_edit(world: World, namespace: str, name: str, *subject: str) -> None:
    words = ("create", "rolebinding", name, "--clusterrole=edit", *subject, "-n", namespace)
    world.kubectl("admin", *words).passes()


@pytest.fixture(scope="module")
def serving(world: World) -> str:
    """The account of serving pods with rights to steal, and `olga`, who has `edit` in the governed namespace."""
    made = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "tunegate-serving", "namespace": world.namespace},
    }
    world.kubectl("admin", "apply", "-f", "-", stdin=made).passes()
    bind_edit(world, world.namespace, "olga", "--user=olga")
    bind_edit(world, world.namespace, "serving", f"--serviceaccount={world.namespace}:tunegate-serving")
    account = f"system:serviceaccount:{world.namespace}:tunegate-serving"
    deadline = time.monotonic() + 60
    while NOT_ITS_POD not in borrowed(world, account).err:
        assert time.monotonic() < deadline, "the rule does not act after 60 s"
        time.sleep(0.3)
    return account


def borrowed(world: World, account: str, *more: str) -> Answer:
    words = ("create", "-f", "-", "--dry-run=server", "--as", account, *more)
    return world.kubectl("outsider", *words, stdin=config(world.namespace))


@pytest.mark.attack(49)
def test_who_may_impersonate_a_namespaces_accounts_writes_nothing_as_one_of_ours(world: World, serving: str) -> None:
    borrowed(world, serving).refused(NOT_ITS_POD)
    borrowed(world, f"system:serviceaccount:{world.namespace}:default").refused("cannot create resource")
    path = f"/api/v1/namespaces/{world.namespace}/configmaps?dryRun=All"
    words = ("create", "--raw", path, "-f", "-", "--as", serving)
    world.kubectl("outsider", *words, stdin=config(world.namespace)).refused(NOT_ITS_POD)
    pretended = ("--as-user-extra", "authentication.kubernetes.io/pod-name=serving")
    answer = world.kubectl("outsider", *words, *pretended, stdin=config(world.namespace))
    answer.refused("cannot impersonate", "userextras/authentication.kubernetes.io/pod-name")


@pytest.mark.attack(49)
def test_nobody_writes_as_the_operator_by_impersonation(world: World, serving: str, release: str) -> None:
    words = ("create", "rolebinding", "operator", "--clusterrole=cluster-admin", f"--user={OPERATOR}")
    world.kubectl("admin", *words, "-n", world.namespace).passes()
    who: dict[str, Any] = {"as_": OPERATOR, "groups": (AUTHENTICATED,)}
    world.create("admin", config(world.namespace), **who).refused(NOT_ITS_POD)
    change = ("patch", "modelrelease", release, "-n", world.namespace, "--type=merge", "--subresource=status")
    approved = ("-p", '{"status": {"phase": "Approved"}}', "--dry-run=server")
    world.kubectl("admin", *change, *approved, **who).refused(NOT_ITS_POD)


@pytest.mark.attack(49)
def test_objects_of_the_cluster_are_not_written_by_impersonation_either(world: World, serving: str) -> None:
    name = f"{world.namespace}-pools"
    account = f"--serviceaccount={world.namespace}:tunegate-serving"
    role = ("clusterrole", name, "--verb=create", "--resource=computepools.tunegate.io")
    binding = ("clusterrolebinding", name, f"--clusterrole={name}", account)
    for words in (role, binding):
        world.kubectl("admin", "create", *words).passes()
    try:
        made = {**make_computepool(), "metadata": {"name": world.namespace}}
        answer = world.create("admin", made, as_=serving, groups=(AUTHENTICATED,))
        answer.refused(NOT_ITS_POD)
    finally:
        world.kubectl("admin", "delete", "clusterrole,clusterrolebinding", name).passes()


def test_a_program_with_the_token_of_its_pod_goes_on_working(world: World, serving: str) -> None:
    made = pod(world.namespace, "gateway")
    made["spec"]["serviceAccountName"] = "tunegate-serving"
    world.as_operator(made).passes()
    bound = ("--bound-object-kind=Pod", "--bound-object-name=gateway")
    words = ("create", "token", "tunegate-serving", "-n", world.namespace, *bound)
    # A kubelet asks for it in the same way.
    token = world.kubectl("admin", *words, as_="system:node:any", groups=("system:masters",)).passes().out.strip()
    world.with_token(token, "create", "-f", "-", "--dry-run=server", stdin=config(world.namespace)).passes()
