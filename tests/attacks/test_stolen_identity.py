"""Somebody else's identity: impersonation, tokens of programs, roles that one gives oneself, rules that one removes."""

from __future__ import annotations

import pytest

from tests.support.governed_namespace import Json, World, pod

pytestmark = pytest.mark.cluster
ADMIN = "platform-admin"
PEOPLE = ["engineer", "reviewer-risk", "reviewer-compliance", "serving-operator", "auditor", "outsider"]
RBAC = "rbac.authorization.k8s.io"


def binding(world: World, name: str, role: str, user: str) -> Json:
    return {
        "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": name, "namespace": world.namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def namespace_admin(world: World) -> str:
    """A person with Kubernetes' own role `admin` in the governed namespace."""
    world.create("admin", binding(world, "namespace-admin", "admin", "nadia"), dry_run=False).passes()
    return "nadia"


@pytest.mark.attack(6)
@pytest.mark.parametrize("role", PEOPLE)
def test_nobody_of_tunegates_roles_impersonates_a_reviewer(world: World, role: str) -> None:
    path = f"/apis/tunegate.io/v1alpha1/namespaces/{world.namespace}/approvals?dryRun=All"
    forged = world.approval("cora", "tunegate:compliance")
    world.kubectl(role, "create", "--raw", path, "-f", "-", stdin=forged, as_="cora").refused("cannot impersonate")


@pytest.mark.attack(31)
@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("kind", ["validatingadmissionpolicy", "validatingadmissionpolicybinding"])
def test_nobody_of_tunegates_roles_removes_or_changes_a_rule(world: World, role: str, kind: str) -> None:
    rule = f"{world.namespace}-tunegate-approver"
    world.kubectl(role, "delete", kind, rule, "--dry-run=server").refused("cannot delete resource")
    change = ("patch", kind, rule, "--type=merge", "-p", '{"spec": {"failurePolicy": "Ignore"}}', "--dry-run=server")
    world.kubectl(role, *change).refused("is forbidden", "cannot")


@pytest.mark.attack(39)
def test_a_namespaces_admin_gives_nobody_a_reviewers_role(world: World, namespace_admin: str) -> None:
    for role in ("tunegate-approver", "tunegate-approver-risk"):
        made = binding(world, "mine", f"{world.namespace}-{role}", namespace_admin)
        world.create("admin", made, as_=namespace_admin).refused("attempting to grant RBAC permissions not")


@pytest.mark.attack(39)
def test_a_namespaces_admin_writes_no_role_with_a_reviewers_verb(world: World, namespace_admin: str) -> None:
    rule = {"apiGroups": ["tunegate.io"], "resources": ["approvalroles"], "verbs": ["approve"]}
    metadata = {"name": "mine", "namespace": world.namespace}
    made = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    world.create("admin", made, as_=namespace_admin).refused("attempting to grant RBAC permissions not")


@pytest.mark.attack(19)
def test_a_namespaces_admin_starts_no_pod(world: World, namespace_admin: str) -> None:
    world.create("admin", pod(world.namespace), as_=namespace_admin).refused("its pods are made by Tunegate only")


@pytest.mark.attack(35)
@pytest.mark.parametrize("account", ["tunegate-serving", "tunegate-stage"])
def test_a_namespaces_admin_gets_no_token_of_its_programs(world: World, namespace_admin: str, account: str) -> None:
    where = ("-n", world.namespace)
    made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": world.namespace}}
    world.kubectl("admin", "apply", "-f", "-", stdin=made).passes()
    answer = world.kubectl("admin", "create", "token", account, *where, as_=namespace_admin)
    answer.refused("given to its pods only")
    answer = world.create("admin", token_secret(world.namespace, account), as_=namespace_admin)
    answer.refused("given to its pods only")


def token_secret(namespace: str, account: str) -> Json:
    """Return a Secret that Kubernetes would fill with a token of the account."""
    annotations = {"kubernetes.io/service-account.name": account}
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "stolen", "namespace": namespace, "annotations": annotations},
    }  # fmt: skip


@pytest.mark.attack(35)
def test_no_secret_is_filled_with_the_operators_token(world: World) -> None:
    world.create(ADMIN, token_secret(world.system, "tunegate-operator")).refused("given to its pods only")


@pytest.mark.attack(35)
def test_a_secret_is_not_turned_to_the_operators_account_later(world: World) -> None:
    world.kubectl("admin", "create", "serviceaccount", "other", "-n", world.system).passes()
    world.create(ADMIN, token_secret(world.system, "other"), dry_run=False).passes()
    change = '{"metadata": {"annotations": {"kubernetes.io/service-account.name": "tunegate-operator"}}}'
    answer = world.kubectl(ADMIN, "patch", "secret", "stolen", "-n", world.system, "--type=merge", "-p", change)
    answer.refused("given to its pods only")


@pytest.mark.attack(35)
@pytest.mark.parametrize("role", PEOPLE)
def test_nobody_of_tunegates_roles_starts_a_pod_as_the_operator(world: World, role: str) -> None:
    made = pod(world.system)
    made["spec"]["serviceAccountName"] = "tunegate-operator"
    world.create(role, made).refused("cannot create resource")
