"""What stands under one of our names is compared whole with what was planned, on a real API server."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest

from tests.support.recording_client import Watched
from tests.support.server_world import World, release
from tunegate.api.finetunejob.spec import Workspace
from tunegate.controllers.ownership import ForeignObject, Ownership
from tunegate.errors import Waiting
from tunegate.kube.client import Conflict, KubeClient, ObjectRef
from tunegate.manifests.workspace import credential_secret, workspace_claim
from tunegate.reconcile.naming import MANAGED_BY

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
Json = dict[str, Any]
LABELS = {"app.kubernetes.io/managed-by": MANAGED_BY, "tunegate.io/job": "copyright"}
POD = {"restartPolicy": "Never", "containers": [{"name": "stage", "image": "example.invalid/none"}]}


@pytest.fixture
async def owner(kube: KubeClient, namespace: str) -> Json:
    """An object that stands for the FineTuneJob or ModelServer that owns what is made."""
    made = await kube.create(plain("ConfigMap", "owner", namespace))
    return reference(made)


def reference(obj: Json) -> Json:
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def plain(kind: str, name: str, namespace: str, **content: Any) -> Json:
    version = {"Job": "batch/v1", "Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1"}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": version.get(kind, "v1"), "kind": kind, "metadata": metadata, **content}


def attempt(namespace: str, owner: Json) -> list[Json]:
    """Return one object of each kind that is created and never applied."""
    config = plain("ConfigMap", "tunegate-stage-a", namespace, immutable=True, data={"config.json": '{"rows": "ours"}'})
    service = plain(
        "Service", "a-train", namespace, spec={"clusterIP": "None", "selector": {"x": "y"}, "ports": [{"port": 29500}]}
    )
    template = {"metadata": {"labels": dict(LABELS)}, "spec": POD}
    job = plain("Job", "a-train", namespace, spec={"suspend": True, "backoffLimit": 0, "template": template})
    for obj in (config, service, job):
        obj["metadata"] |= {"labels": dict(LABELS), "ownerReferences": [owner]}
    return [
        config,
        workspace_claim("tunegate-workspace-a", namespace, workspace=Workspace(size="1Mi"), shared=False, labels=LABELS, owner=owner),
        credential_secret("tunegate-registry-a", namespace, docker_config='{"auths": {}}', labels=LABELS, owner=owner),
        service,
        job,
    ]  # fmt: skip


def fixtures(namespace: str, owner: Json) -> list[Json]:
    """Return all that a server applies, as its planner wants it, with an owner that exists."""
    world = World()
    world.put(release("one"))
    plan = world.step()
    text = json.dumps([*plan.applies]).replace('"namespace": "team"', f'"namespace": "{namespace}"')
    objects: list[Json] = json.loads(text)
    for obj in objects:
        obj["metadata"]["ownerReferences"] = [owner]
        if obj["kind"] == "Deployment":
            obj["spec"]["replicas"] = 0
    return objects


FOREIGN: dict[str, Json] = {
    "ConfigMap": {"data": {"config.json": '{"rows": "theirs"}', "routes.json": "{}"}},
    "Secret": {"data": {"config.json": base64.b64encode(b"theirs").decode()}},
    "PersistentVolumeClaim": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}},
    "Service": {"spec": {"type": "ExternalName", "externalName": "evil.example"}},
    "Job": {"spec": {"suspend": True, "template": {"spec": POD}}},
    "Deployment": {"spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "example.invalid/x"}]}}}},
    "Role": {"rules": []},
    "RoleBinding": {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "nothing"}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"a": "b"}}}},
}  # fmt: skip
"""What somebody puts where ours shall be."""


def foreign(wanted: Json) -> Json:
    """Return an object of somebody else under the name of ours, with our labels."""
    metadata = {key: wanted["metadata"][key] for key in ("name", "namespace", "labels")}
    return {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": metadata, **FOREIGN[wanted["kind"]]}


CREATED = ["ConfigMap", "PersistentVolumeClaim", "Secret", "Service", "Job"]
APPLIED = ["ConfigMap", "Deployment", "Service", "Role", "RoleBinding", "PodDisruptionBudget"]


async def live(kube: KubeClient, wanted: Json) -> Json:
    found = await kube.get(ObjectRef.of(wanted))
    assert found is not None
    return found


def of_kind(objects: list[Json], kind: str) -> Json:
    return next(obj for obj in objects if obj["kind"] == kind)


@pytest.mark.parametrize("kind", CREATED)
async def test_an_object_that_we_created_and_forgot_is_recognized(
    kube: KubeClient, namespace: str, owner: Json, kind: str
) -> None:
    wanted = of_kind(attempt(namespace, owner), kind)
    assert (await Ownership(kube).create(wanted)).action == "create"
    before = await live(kube, wanted)
    done = await Ownership(kube).create(wanted)
    assert (done.action, done.finding) == (None, None)
    assert (await live(kube, wanted))["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.attack(51, 52, 59)
@pytest.mark.parametrize("kind", CREATED)
async def test_what_somebody_created_under_our_name_is_refused_and_left_until_it_is_gone(
    kube: KubeClient, namespace: str, owner: Json, kind: str
) -> None:
    wanted = of_kind(attempt(namespace, owner), kind)
    theirs = await kube.create(foreign(wanted))
    with pytest.raises(ForeignObject) as refused:
        await Ownership(kube).create(wanted)
    assert str(ObjectRef.of(wanted)) in refused.value.message
    assert refused.value.finding.payload["outcome"] == "Refused"
    assert (await live(kube, wanted))["metadata"]["uid"] == theirs["metadata"]["uid"]
    await kube.delete(ObjectRef.of(wanted))
    if kind != "PersistentVolumeClaim":  # Kubernetes protects claims for a moment
        assert (await Ownership(kube).create(wanted)).action == "create"


@pytest.mark.attack(51, 52, 59)
@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "Job"])
async def test_a_forged_owner_does_not_make_a_claim_or_job_ours(
    kube: KubeClient, namespace: str, owner: Json, kind: str
) -> None:
    wanted = of_kind(attempt(namespace, owner), kind)
    forged = {**foreign(wanted), "metadata": {**wanted["metadata"], "labels": {}}}
    if kind == "PersistentVolumeClaim":
        forged["metadata"]["labels"] = wanted["metadata"]["labels"]
        forged["spec"] = {**wanted["spec"], "volumeName": "prepared"}
    await kube.create(forged)
    with pytest.raises(ForeignObject) as refused:
        await Ownership(kube).create(wanted)
    assert "differs in" in refused.value.message


@pytest.mark.attack(51, 52)
@pytest.mark.parametrize("kind", ["ConfigMap", "Secret", "Service"])
async def test_a_forged_owner_with_other_content_is_made_again(
    kube: KubeClient, namespace: str, owner: Json, kind: str
) -> None:
    wanted = of_kind(attempt(namespace, owner), kind)
    unchangeable = {} if kind == "Service" else {"immutable": True}
    theirs = await kube.create({**foreign(wanted), "metadata": wanted["metadata"], **unchangeable})
    done = await Ownership(kube).create(wanted)
    assert done.finding is not None
    assert done.finding.outcome == "Replaced"
    now = await live(kube, wanted)
    assert now["metadata"]["uid"] != theirs["metadata"]["uid"]
    assert (await Ownership(kube).create(wanted)).action is None


async def test_what_is_as_planned_is_not_written(kube: KubeClient, namespace: str, owner: Json) -> None:
    objects = fixtures(namespace, owner)
    assert sorted(APPLIED) == sorted({obj["kind"] for obj in objects})
    for obj in objects:
        assert (await Ownership(kube).apply(obj)).action == "apply"
    watched = Watched(kube)
    ownership = Ownership(cast(KubeClient, watched))
    for obj in objects:
        done = await ownership.apply(obj)
        assert (done.action, done.finding) == (None, None), obj["kind"]
    # Only asked for defaults, once for each object that has any.
    assert watched.writes == ["create Deployment", "create Service", "create PodDisruptionBudget"]
    for obj in objects:
        await ownership.apply(obj)
    assert len(watched.writes) == 3


@pytest.mark.attack(53, 61, 69)
@pytest.mark.parametrize("kind", APPLIED)
async def test_a_foreign_object_is_replaced_under_a_reserved_name_and_refused_under_another(
    kube: KubeClient, namespace: str, owner: Json, kind: str
) -> None:
    wanted = of_kind(fixtures(namespace, owner), kind)
    theirs = foreign(wanted)
    if kind == "ConfigMap":
        theirs["immutable"] = True
    theirs = await kube.create(theirs)
    if wanted["metadata"]["name"].startswith("tunegate-"):
        done = await Ownership(kube).apply(wanted)
        assert done.finding is not None
        assert done.finding.outcome == "Replaced"
        now = await live(kube, wanted)
        assert now["metadata"]["uid"] != theirs["metadata"]["uid"]
        assert (await Ownership(kube).apply(wanted)).action is None
        return
    with pytest.raises(ForeignObject):
        await Ownership(kube).apply(wanted)
    now = await live(kube, wanted)
    assert (now["metadata"]["uid"], now["spec"]) == (theirs["metadata"]["uid"], theirs["spec"])


ALTERED: dict[str, Json] = {
    "ConfigMap": {"immutable": True, "data": {"routes.json": '{"routes": {"extract": "theirs"}}', "more": "x"}},
    "Deployment": {"spec": {"template": {"spec": {"hostNetwork": True, "nodeName": "theirs"}}}},
    "Service": {"spec": {"externalIPs": ["10.9.8.7"], "sessionAffinity": "ClientIP"}, "metadata": {"labels": {"tunegate.io/job": "x"}}},
    "Role": {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]},
    "RoleBinding": {"subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"more": "labels"}}}},
}  # fmt: skip
"""What somebody does to ours, by a merge patch."""


@pytest.mark.attack(53, 61, 69)
@pytest.mark.parametrize("kind", APPLIED)
async def test_what_others_put_into_an_object_of_ours_is_taken_back(
    kube: KubeClient, namespace: str, owner: Json, kind: str
) -> None:
    wanted = of_kind(fixtures(namespace, owner), kind)
    await Ownership(kube).apply(wanted)
    good = await live(kube, wanted)
    await merge(kube, good, ALTERED[kind])
    done = await Ownership(kube).apply(wanted)
    assert done.action == "apply"
    now = await live(kube, wanted)
    for section in {*good, *now} - {"metadata", "status"}:
        assert now.get(section) == good.get(section), section
    assert now["metadata"]["labels"] == good["metadata"]["labels"]
    assert (await Ownership(kube).apply(wanted)).action is None


async def merge(kube: KubeClient, obj: Json, change: Json) -> None:
    """Patch as somebody with an editor does."""

    def into(target: Json, more: Json) -> None:
        for key, value in more.items():
            if isinstance(value, dict) and isinstance(target.get(key), dict):
                into(target[key], value)
            else:
                target[key] = value

    for _ in range(20):
        merged = await live(kube, obj)
        into(merged, change)
        try:
            await kube.replace(merged)
        except Conflict:
            continue
        return
    raise AssertionError("somebody writes it all the time")


@pytest.mark.attack(53)
async def test_another_role_in_the_gateways_binding_is_replaced(kube: KubeClient, namespace: str, owner: Json) -> None:
    wanted = of_kind(fixtures(namespace, owner), "RoleBinding")
    theirs = {**wanted, "roleRef": {**wanted["roleRef"], "name": "nothing"}}
    await kube.create(theirs)
    done = await Ownership(kube).apply(wanted)
    assert done.finding is not None
    assert (await live(kube, wanted))["roleRef"] == wanted["roleRef"]


@pytest.mark.attack(53)
async def test_a_finalizer_does_not_keep_old_routes(kube: KubeClient, namespace: str, owner: Json) -> None:
    wanted = of_kind(fixtures(namespace, owner), "ConfigMap")
    held = {**wanted, "immutable": True, "data": {"routes.json": '{"routes": {"extract": "revoked"}}'}}
    held["metadata"] = {**wanted["metadata"], "finalizers": ["example.org/mine"]}
    await kube.create(held)
    await kube.delete(ObjectRef.of(wanted))
    await Ownership(kube).apply(wanted)
    assert (await live(kube, wanted))["data"] == wanted["data"]


async def test_an_object_that_is_being_deleted_is_only_waited_for(
    kube: KubeClient, namespace: str, owner: Json
) -> None:
    wanted = of_kind(fixtures(namespace, owner), "Service")
    held = {**wanted, "metadata": {**wanted["metadata"], "finalizers": ["example.org/mine"]}}
    made = await kube.create(held)
    await kube.delete(ObjectRef.of(wanted))
    for write in (Ownership(kube).apply, Ownership(kube).create):
        with pytest.raises(Waiting) as waits:
            await write(wanted)
        assert "example.org/mine" in waits.value.message
    await kube.remove_finalizer(await live(kube, made), "example.org/mine")
    assert (await Ownership(kube).apply(wanted)).action == "apply"


async def test_a_full_quota_keeps_nothing_from_being_applied(kube: KubeClient, namespace: str, owner: Json) -> None:
    await kube.create(plain("ResourceQuota", "full", namespace, spec={"hard": {"count/services": "1"}}))
    wanted = of_kind(fixtures(namespace, owner), "Service")
    assert (await Ownership(kube).apply(wanted)).action == "apply"
    assert (await Ownership(kube).apply(wanted)).action is None
