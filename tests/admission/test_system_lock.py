"""The release namespace: a right over its pods, or Kubernetes' own `edit`, makes nobody the operator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.governed_namespace import Answer, Json, World, pod

pytestmark = pytest.mark.cluster
ADMIN = "platform-admin"
AUTHENTICATED = "system:authenticated"
MAINTAINERS = "tunegate:maintainers"
VERB = 'RBAC verb "maintain" on installations/tunegate'
ACCOUNT = "tunegate-operator"
DEPLOYMENT = "tunegate-operator-here"
"""Another test may have installed the chart, and with it one of the operator's name."""
WORKLOADS = ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"]


@pytest.fixture(scope="module")
def editor(world: World) -> Iterator[str]:
    """A person with Kubernetes' own role `edit` in the release namespace, and more over pods; the rules act there."""
    more = ("role", "debugger", "--verb=patch", "--resource=pods/ephemeralcontainers")
    roles = ("--clusterrole=edit", "--role=debugger")
    bindings = [("rolebinding", role.rpartition("=")[2], role, "--user=edna") for role in roles]
    for args in (more, *bindings):
        world.kubectl("admin", "create", *args, "-n", world.system).passes()
    deadline = time.monotonic() + 60
    while "maintain" not in create(world, using(world, pod(world.system))).err:
        assert time.monotonic() < deadline, "the rules do not act after 60 s"
        time.sleep(0.3)
    yield "edna"
    world.kubectl("admin", "delete", "rolebinding", "edit", "debugger", "-n", world.system).passes()


def as_editor(world: World, *args: str, stdin: Any = None) -> Answer:
    return world.kubectl("admin", *args, stdin=stdin, as_="edna", groups=(AUTHENTICATED,))


def as_maintainer(world: World, *args: str, stdin: Any = None) -> Answer:
    return world.kubectl("admin", *args, stdin=stdin, as_="mona", groups=(MAINTAINERS, AUTHENTICATED))


def create(world: World, obj: Json) -> Answer:
    return as_editor(world, "create", "-f", "-", "--dry-run=server", stdin=obj)


def using(world: World, obj: Json, **changes: Any) -> Json:
    """Return the pod with changes in its spec; without any it runs under the operator's account."""
    return {**obj, "spec": {**obj["spec"], **(changes or {"serviceAccountName": ACCOUNT})}}


def workload(world: World, kind: str, name: str = "mine", replicas: int = 0) -> Json:
    labels = {"app": name}
    spec = using(world, pod(world.system))["spec"]
    finite = {"metadata": {"labels": labels}, "spec": {**spec, "restartPolicy": "Never"}}
    template = {"metadata": {"labels": labels}, "spec": spec}
    selected = {"selector": {"matchLabels": labels}, "template": template}
    specs: dict[str, tuple[str, Json]] = {
        "Deployment": ("apps/v1", {**selected, "replicas": replicas}),
        "ReplicaSet": ("apps/v1", selected),
        "StatefulSet": ("apps/v1", {**selected, "serviceName": name}),
        "DaemonSet": ("apps/v1", selected),
        "Job": ("batch/v1", {"template": finite}),
        "CronJob": ("batch/v1", {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": finite}}}),
        "ReplicationController": ("v1", {"selector": labels, "template": template}),
    }
    group, spec = specs[kind]
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": world.system}, "spec": spec}


@pytest.fixture(scope="module")
def running(world: World, editor: str) -> str:
    """A Deployment under the operator's account; its pod comes from Kubernetes' controllers."""
    world.create(ADMIN, workload(world, "Deployment", DEPLOYMENT, replicas=1), dry_run=False).passes()
    deadline = time.monotonic() + 30
    words = ("get", "pods", "-n", world.system, "-l", f"app={DEPLOYMENT}", "-o", "name")
    while not (name := world.kubectl("admin", *words).passes().out.strip()):
        assert time.monotonic() < deadline, "the ReplicaSet controller could not make the pod"
        time.sleep(0.5)
    return name.removeprefix("pod/")


@pytest.mark.attack(46)
@pytest.mark.parametrize("way", ["exec?command=sh", "attach", "portforward?ports=80"])
def test_no_connection_into_a_pod_of_the_operators_namespace(world: World, editor: str, way: str) -> None:
    path = f"/api/v1/namespaces/{world.system}/pods/absent/{way}"
    as_editor(world, "create", "--raw", path, "-f", "-", stdin={}).refused("may not reach into the pods", VERB)
    if way != "attach":
        as_maintainer(world, "create", "--raw", path, "-f", "-", stdin={}).refused('pods "absent" not found')
    world.kubectl(ADMIN, "create", "--raw", path, "-f", "-", stdin={}).refused('pods "absent" not found')


@pytest.mark.attack(46)
@pytest.mark.parametrize("what", ["pods", "services"])
def test_no_proxy_into_the_operators_namespace(world: World, editor: str, what: str) -> None:
    path = f"/api/v1/namespaces/{world.system}/{what}/absent/proxy/"
    as_editor(world, "get", "--raw", path).refused(VERB)
    world.kubectl(ADMIN, "get", "--raw", path).refused("not found")


@pytest.mark.attack(46)
def test_no_container_is_added_to_a_pod_of_the_operator(world: World, running: str) -> None:
    debug = ("debug", running, "-n", world.system, "--image=example.invalid/shell", "--container=shell")
    as_editor(world, *debug).refused(VERB)


@pytest.mark.attack(46)
def test_the_image_of_the_operators_pod_is_not_swapped(world: World, running: str) -> None:
    where = (f"pod/{running}", "-n", world.system)
    as_editor(world, "set", "image", where[0], "main=example.invalid/other", *where[1:]).refused(VERB)
    as_editor(world, "label", *where, "app=other", "--overwrite").refused(VERB)
    as_editor(world, "annotate", *where, "network=seen", "--dry-run=server").passes()


@pytest.mark.attack(46)
def test_no_pod_under_an_account_of_the_chart(world: World, editor: str) -> None:
    create(world, using(world, pod(world.system))).refused("an account, a Secret or a claim", VERB)
    create(world, using(world, pod(world.system), serviceAccount=ACCOUNT)).refused(VERB)


@pytest.mark.attack(46)
@pytest.mark.parametrize("kind", WORKLOADS)
def test_no_workload_under_an_account_of_the_chart(world: World, editor: str, kind: str) -> None:
    create(world, workload(world, kind)).refused("an account, a Secret or a claim", VERB)
    plain = workload(world, kind)
    del template_of(plain)["spec"]["serviceAccountName"]
    create(world, plain).passes()


def template_of(obj: Json) -> Json:
    spec = obj["spec"]
    return dict(spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"])


KEY = {"secretKeyRef": {"name": "tunegate-ledger-key", "key": "key.pem"}}
SECRET = {"secret": {"name": "tunegate-ledger-key"}}
POSSESSIONS: dict[str, Json] = {
    "volume": {"volumes": [{"name": "key", "secret": {"secretName": "tunegate-registry-token"}}]},
    "projected volume": {"volumes": [{"name": "key", "projected": {"sources": [SECRET]}}]},
    "claim": {"volumes": [{"name": "blobs", "persistentVolumeClaim": {"claimName": "tunegate-registry"}}]},
    "variable": {"containers": [{"name": "main", "image": "example.invalid/none", "env": [{"name": "KEY", "valueFrom": KEY}]}]},
    "variables": {
        "containers": [{"name": "main", "image": "example.invalid/none"}],
        "initContainers": [{"name": "first", "image": "example.invalid/none", "envFrom": [{"secretRef": SECRET["secret"]}]}],
    },
    "Secret that the site named": {"volumes": [{"name": "key", "secret": {"secretName": "our-ledger-key"}}]},
}  # fmt: skip


@pytest.mark.attack(46)
@pytest.mark.parametrize("way", POSSESSIONS)
def test_no_pod_with_the_keys_or_the_stores_of_the_chart(world: World, editor: str, way: str) -> None:
    create(world, using(world, pod(world.system), **POSSESSIONS[way])).refused("an account, a Secret or a claim", VERB)


def test_other_pods_stay_possible_in_the_operators_namespace(world: World, editor: str) -> None:
    own = {"volumes": [{"name": "mine", "secret": {"secretName": "mine"}}, {"name": "tmp", "emptyDir": {}}]}
    create(world, using(world, pod(world.system), **own, serviceAccountName="default")).passes()
    create(
        world, using(world, pod(world.system), volumes=[{"name": "ca", "configMap": {"name": "tunegate-ca"}}])
    ).passes()


@pytest.mark.attack(46)
def test_the_operators_deployment_is_not_changed_scaled_or_deleted(world: World, running: str) -> None:
    where = (f"deployment/{DEPLOYMENT}", "-n", world.system)
    belongs = "belongs to the installation"
    as_editor(world, "set", "image", where[0], "main=example.invalid/other", *where[1:]).refused(VERB)
    as_editor(world, "scale", *where, "--replicas=0").refused(belongs, VERB)
    as_editor(world, "delete", *where).refused(belongs, VERB)
    as_maintainer(world, "rollout", "restart", *where).passes()


@pytest.mark.attack(46)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Secret", "tunegate-planted"),
        ("Secret", "our-ledger-key"),
        ("Secret", "sh.helm.release.v1.tunegate.v1"),
        ("ConfigMap", "tunegate-planted"),
        ("ServiceAccount", "tunegate-planted"),
    ],
)
def test_keys_rules_and_accounts_of_the_operator_are_not_replaced(
    world: World, editor: str, kind: str, name: str
) -> None:
    made: Json = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": world.system}}
    create(world, made).refused("belongs to the installation", VERB)
    world.create(ADMIN, made).passes()
    create(world, {**made, "metadata": {"name": "mine", "namespace": world.system}}).passes()


@pytest.mark.attack(46)
def test_nobody_but_the_operator_says_when_the_rules_were_last_seen(world: World, editor: str) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "edna"}}
    made = {**lease, "metadata": {"name": "tunegate-operator-admission", "namespace": world.system}}
    create(world, made).refused("belongs to the installation", VERB)
    world.as_operator(made).passes()
