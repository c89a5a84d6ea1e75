"""What bounds all pods of a governed namespace is not widened by the rights of its `edit` or `admin`."""

from __future__ import annotations

import pytest

from tests.support.governed_namespace import Json, World
from tests.support.namespace_admin import ADMIN, EDITOR, act, bind, create, until_refused

pytestmark = pytest.mark.cluster
WORDS = "would change what the pods of Tunegate there may reach or use"
OPEN = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}


def policy(world: World, name: str = "open", labels: dict[str, str] | None = None) -> Json:
    metadata = {"name": name, "namespace": world.namespace, "labels": labels or {}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": OPEN}


@pytest.fixture(scope="module", autouse=True)
def people(world: World) -> None:
    bind(world)
    for user in (ADMIN, EDITOR):
        until_refused(lambda user=user: create(world, user, policy(world)), WORDS)  # type: ignore[misc]


@pytest.mark.attack(66)
@pytest.mark.parametrize("user", [ADMIN, EDITOR])
def test_no_network_policy_is_made_changed_or_taken_away_whatever_its_name_and_labels(world: World, user: str) -> None:
    ours = {"app.kubernetes.io/managed-by": "tunegate"}
    for made in (policy(world), policy(world, "tunegate-more"), policy(world, "labelled", ours)):
        assert create(world, user, made).code != 0
    create(world, user, policy(world)).refused(WORDS, 'RBAC verb "maintain"')
    name = f"of-a-maintainer-{user}"
    world.create("platform-admin", policy(world, name), dry_run=False).passes()
    where = ("networkpolicy", name, "-n", world.namespace, "--dry-run=server")
    act(world, user, "label", *where, "mine=now").refused(WORDS)
    act(world, user, "patch", *where, "--type=merge", "-p", '{"spec": {"egress": []}}').refused(WORDS)
    act(world, user, "delete", *where).refused(WORDS)
    everything = ("delete", "networkpolicies", "--all", "-n", world.namespace, "--dry-run=server")
    act(world, user, *everything).refused(WORDS)


@pytest.mark.attack(66)
def test_quotas_and_defaults_of_all_pods_are_the_platforms(world: World) -> None:
    grant = ("create", "role", "bounds", "--verb=create,update,delete", "--resource=resourcequotas,limitranges")
    world.kubectl("admin", *grant, "-n", world.namespace).passes()
    bound = ("create", "rolebinding", "bounds", "--role=bounds", f"--user={ADMIN}", "-n", world.namespace)
    world.kubectl("admin", *bound).passes()
    metadata = {"name": "tight", "namespace": world.namespace}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}}
    limits = {"limits": [{"type": "Container", "default": {"memory": "1Mi"}}]}
    until_refused(lambda: create(world, ADMIN, quota), WORDS)
    create(world, ADMIN, {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": limits}).refused(
        WORDS
    )


@pytest.mark.attack(66)
def test_listed_controllers_maintainers_and_other_namespaces_go_on(world: World) -> None:
    world.create("platform-admin", policy(world)).passes()
    tool = f"system:serviceaccount:{world.namespace}:gitops"
    grant = ("create", "rolebinding", "controller", "--clusterrole=edit", f"--user={tool}", "-n", world.namespace)
    world.kubectl("admin", *grant).passes()
    made = policy(world, "of-a-controller")
    world.kubectl(
        "admin", "create", "-f", "-", "--dry-run=server", stdin=made, as_=tool, groups=("system:authenticated",)
    ).passes()
    elsewhere = policy(world)
    elsewhere["metadata"]["namespace"] = world.system
    world.create("admin", elsewhere).passes()


@pytest.mark.attack(66)
def test_nobody_scales_a_server_by_an_autoscaler(world: World) -> None:
    """The autoscaler itself can be made; what it does to a Deployment of ours is refused to its controller."""
    grant = ("create", "rolebinding", "scaler", "--clusterrole=admin", "-n", world.namespace)
    scaler = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
    world.kubectl("admin", *grant, f"--user={scaler}").passes()
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "scaled", "namespace": world.namespace},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "scaled"}},
            "template": {
                "metadata": {"labels": {"app": "scaled"}},
                "spec": {"containers": [{"name": "main", "image": "example.invalid/none"}]},
            },
        },
    }  # fmt: skip
    world.as_operator(deployment).passes()
    scale = ("scale", "deployment", "scaled", "--replicas=9", "-n", world.namespace)
    until_refused(lambda: world.kubectl("admin", *scale, as_=scaler, groups=("system:authenticated",)), "is governed")
