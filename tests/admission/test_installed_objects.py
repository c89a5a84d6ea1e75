"""What the chart made in a governed namespace stays as it is, whatever Kubernetes' own roles allow there."""

from __future__ import annotations

import json
import secrets
import time

import pytest

from tests.support import helm
from tests.support.governed_namespace import Answer, Json, World, as_list

pytestmark = pytest.mark.cluster
ADMIN = "platform-admin"
AUTHENTICATED = "system:authenticated"
BELONGS = "belongs to the installation of Tunegate"
VERB = 'RBAC verb "maintain" on installations/tunegate'
OWN_KINDS = ("NetworkPolicy", "PodDisruptionBudget")
"""Kinds of which nobody else makes one in a governed namespace, whatever its name: another rule may be the one that answers."""
KINDS = [
    "NetworkPolicy", "Secret", "ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "PodDisruptionBudget", "Role",
    "RoleBinding",
]  # fmt: skip
IDLE: dict[str, Json] = {"Deployment": {"replicas": 0}, "Job": {"suspend": True}}
GROUPS = {
    "NetworkPolicy": "networking.k8s.io/v1", "PodDisruptionBudget": "policy/v1",
    "Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1",
}  # fmt: skip
NOBODY = {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"}
CONTENT: dict[str, Json] = {
    "NetworkPolicy": {"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}},
    "PersistentVolumeClaim": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "none"}}}},
    "Role": {"rules": []},
    "RoleBinding": {"roleRef": NOBODY},
}  # fmt: skip


def made(world: World, kind: str, name: str) -> Json:
    """Return an object with the label of Helm, as the chart has it."""
    metadata = {"name": name, "namespace": world.namespace, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    return {"apiVersion": GROUPS.get(kind, "v1"), "kind": kind, "metadata": metadata, **CONTENT.get(kind, {})}


def as_owner(world: World, *args: str, stdin: Json | None = None) -> Answer:
    """Run kubectl as somebody with Kubernetes' own role `admin` in the governed namespace."""
    return world.kubectl("admin", *args, stdin=stdin, as_="nils", groups=(AUTHENTICATED,))


@pytest.fixture(scope="module")
def owner(world: World) -> None:
    args = ("create", "rolebinding", "owner", "--clusterrole=admin", "--user=nils", "-n", world.namespace)
    world.kubectl("admin", *args).passes()
    deadline = time.monotonic() + 60
    probe = made(world, "ConfigMap", "tunegate-probe")
    while BELONGS not in as_owner(world, "create", "-f", "-", "--dry-run=server", stdin=probe).err:
        assert time.monotonic() < deadline, "the rule does not act after 60 s"
        time.sleep(0.3)


@pytest.mark.attack(47)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_chart_made_is_not_planted_changed_or_deleted_by_a_namespaces_admin(
    world: World, owner: None, kind: str
) -> None:
    installed = made(world, kind, f"tunegate-{kind.lower()}")
    words = (VERB,) if kind in OWN_KINDS else (BELONGS, VERB)
    as_owner(world, "create", "-f", "-", "--dry-run=server", stdin=installed).refused(*words)
    world.create(ADMIN, installed, dry_run=False).passes()
    where = (kind, installed["metadata"]["name"], "-n", world.namespace, "--dry-run=server")
    as_owner(world, "label", *where, "mine=now").refused(*words)
    as_owner(world, "delete", *where).refused(*words)
    world.kubectl(ADMIN, "delete", *where).passes()


@pytest.mark.attack(47)
def test_network_policies_of_the_chart_are_not_deleted_as_a_collection(world: World, owner: None) -> None:
    world.create(ADMIN, made(world, "NetworkPolicy", "tunegate-default-deny"), dry_run=False).passes()
    path = f"/apis/networking.k8s.io/v1/namespaces/{world.namespace}/networkpolicies"
    as_owner(world, "delete", "--raw", path).refused(VERB)
    world.kubectl("admin", "get", "networkpolicy", "tunegate-default-deny", "-n", world.namespace).passes()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in OWN_KINDS])
def test_a_namespaces_admin_keeps_what_is_his_own(world: World, owner: None, kind: str) -> None:
    as_owner(world, "create", "-f", "-", "--dry-run=server", stdin=made(world, kind, "mine")).passes()


def test_a_storage_driver_annotates_the_claims_of_the_chart(world: World, owner: None) -> None:
    world.create(ADMIN, made(world, "PersistentVolumeClaim", "tunegate-driven"), dry_run=False).passes()
    words = ("annotate", "persistentvolumeclaim", "tunegate-driven", "-n", world.namespace, "storage=seen")
    as_owner(world, *words).passes()


CLAIM = "PersistentVolumeClaim"


@pytest.mark.attack(47)
@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "1-2-3"}]},
        {"annotations": {"pv.kubernetes.io/bind-completed": "long ago"}},
        {"annotations": {"pv.kubernetes.io/bound-by-controller": None}},
        {"labels": {"mine": "now"}},
    ],
    ids=["owner", "bound", "not-bound-by-kubernetes", "label"],
)
@pytest.mark.parametrize("whose", ["Helm", "tunegate"])
def test_no_claim_goes_with_an_owner_that_somebody_gave_it_nor_by_what_kubernetes_notes_on_it(
    world: World, owner: None, whose: str, metadata: Json
) -> None:
    claim = made(world, CLAIM, f"tunegate-kept-{whose.lower()}-{secrets.token_hex(3)}")
    claim["metadata"] |= {
        "labels": {"app.kubernetes.io/managed-by": whose},
        "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"},
    }
    world.as_operator(claim).passes()
    where = (CLAIM, claim["metadata"]["name"], "-n", world.namespace, "--type=merge", "--dry-run=server", "-p")
    as_owner(world, "patch", *where, json.dumps({"metadata": {"annotations": {"storage": "seen"}}})).passes()
    refused = as_owner(world, "patch", *where, json.dumps({"metadata": metadata}))
    refused.refused("belongs to the")


def test_the_chart_is_installed_and_upgraded_by_who_may_do_everything_or_maintains_it(
    world: World, owner: None
) -> None:
    for namespace in (world.namespace, world.system):
        words = ("create", "rolebinding", "installer", "--clusterrole=admin", "--user=ines", "-n", namespace)
        world.kubectl("admin", *words).passes()
    # Kubernetes' role `admin` may not write quotas.
    quotas = ("--verb=create,get,patch,update", "--resource=resourcequotas", "-n", world.namespace)
    world.kubectl("admin", "create", "role", "installer", *quotas).passes()
    bound = ("--role=installer", "--user=ines", "-n", world.namespace)
    world.kubectl("admin", "create", "rolebinding", "installer-of-quotas", *bound).passes()
    governed = [{"name": world.namespace, "policy": "two-person"}]
    chart = json.dumps(helm.render(helm.values(governedNamespaces=governed))).replace(helm.SYSTEM, world.system)
    objects = [one for one in json.loads(chart) if one["metadata"].get("namespace") in (world.namespace, world.system)]
    for one in objects:
        # Nothing of it runs: the node's processors are for the pods of other tests.
        one.get("spec", {}).update(IDLE.get(one["kind"], {}))
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    world.kubectl(ADMIN, *apply, stdin=as_list(objects)).passes()
    # Rights are written by who holds them; the rest needs no more than the verb beside a namespace's ordinary rights.
    plain = [one for one in objects if one["kind"] not in ("Role", "RoleBinding")]
    again = (*apply, "--dry-run=server")
    world.kubectl("admin", *again, stdin=as_list(plain), as_="ines", groups=(AUTHENTICATED,)).refused(BELONGS)
    maintainer = ("tunegate:maintainers", AUTHENTICATED)
    world.kubectl("admin", *again, stdin=as_list(plain), as_="ines", groups=maintainer).passes()


def test_the_operator_and_who_maintains_the_installation_write_in_governed_namespaces(
    world: World, owner: None
) -> None:
    words = ("create", "rolebinding", "mona", "--clusterrole=admin", "--user=mona", "-n", world.namespace)
    world.kubectl("admin", *words).passes()
    secret = made(world, "Secret", "tunegate-spare")
    dry = ("create", "-f", "-", "--dry-run=server")
    world.kubectl("admin", *dry, stdin=secret, as_="mona", groups=(AUTHENTICATED,)).refused(BELONGS)
    groups = ("tunegate:maintainers", AUTHENTICATED)
    world.kubectl("admin", *dry, stdin=secret, as_="mona", groups=groups).passes()
    world.as_operator(secret).passes()
