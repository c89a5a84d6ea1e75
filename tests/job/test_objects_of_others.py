"""A job whose objects somebody took first, or made to look like its own: the real controller on the real API server.

The admission rules are not in force in these namespaces: this is what the operator does by itself.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.controllers.test_crash_of_worker import ROOTLIKE, Site, site
from tests.support import builders
from tests.support.recording_client import Memory, Watched
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.controllers.finetunejob.controller import FineTuneJobController
from tunegate.controllers.services import Services
from tunegate.kube.client import ObjectKey, ObjectRef
from tunegate.manifests.stage_job import CONFIG_FILE, config_map_name
from tunegate.manifests.workspace import credential_of
from tunegate.reconcile.naming import attempt_job_name, registry_secret_name

__all__ = ["site"]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
Json = dict[str, Any]


async def requested(site: Site, name: str = "job") -> tuple[ObjectKey, str, str]:
    """Create a job; return its key, its UID and the name of its first attempt."""
    raw = await site.kube.create(builders.make_finetunejob(name, site.namespace, requestedBy=ROOTLIKE))
    uid = raw["metadata"]["uid"]
    return ObjectKey(site.namespace, name), uid, attempt_job_name(name, "Validate", 1, uid)


async def step(site: Site, key: ObjectKey, ledger: Memory, times: int = 4) -> None:
    for _ in range(times):
        await site.reconcile(Watched(site.kube), ledger, key)


async def jobs(site: Site) -> list[str]:
    return [one["metadata"]["name"] for one in await site.kube.list("batch/v1", "Job", site.namespace)]


def foreign(site: Site, kind: str, name: str, **content: Any) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": site.namespace}, **content}


async def status(site: Site, key: ObjectKey) -> Json:
    live = await site.kube.get(ObjectRef("tunegate.io/v1alpha1", "FineTuneJob", key.name, key.namespace))
    assert live is not None
    return dict(live["status"])


@pytest.mark.attack(52)
async def test_a_configuration_that_somebody_made_first_starts_no_stage(site: Site) -> None:
    key, uid, attempt = await requested(site)
    ledger, name = Memory(), config_map_name(attempt)
    theirs = foreign(site, "ConfigMap", name, data={CONFIG_FILE: '{"dataset": {"spec": {"path": "suite.jsonl"}}}'})
    await site.kube.create(theirs)
    await step(site, key, ledger)
    assert await jobs(site) == []
    told = await status(site, key)
    assert name in told["message"]
    assert "ForeignObject" in [one["reason"] for one in told["conditions"]]
    found = {entry.event_id: entry for entry in ledger.entries if entry.type == "ForeignObjectFound"}
    assert [(entry.subject.uid, entry.payload["object"]) for entry in found.values()] == [
        (uid, f"ConfigMap {site.namespace}/{name}")
    ]

    await site.kube.delete(ObjectRef("v1", "ConfigMap", name, site.namespace))
    await step(site, key, ledger)
    assert await jobs(site) == [attempt]
    ours = await site.kube.get(ObjectRef("v1", "ConfigMap", name, site.namespace))
    assert ours is not None
    assert ours["metadata"]["ownerReferences"][0]["uid"] == uid
    assert ours["data"] != theirs["data"]
    told = await status(site, key)
    assert "ObjectsInPlace" not in [one["type"] for one in told["conditions"]]


@pytest.mark.attack(52)
async def test_a_credential_of_somebody_else_is_not_used(site: Site) -> None:
    key, uid, attempt = await requested(site)
    name = registry_secret_name(key.name, uid)
    theirs = base64.b64encode(b'{"auths": {"elsewhere.example": {}}}').decode()
    await site.kube.create(foreign(site, "Secret", name, data={"config.json": theirs}))
    ledger = Memory()
    await step(site, key, ledger)
    assert await jobs(site) == [attempt]
    ours = await site.kube.get(ObjectRef("v1", "Secret", name, site.namespace))
    assert ours is not None
    assert ours["metadata"]["ownerReferences"][0]["uid"] == uid
    assert "elsewhere.example" not in credential_of(ours)
    found = [entry.payload["outcome"] for entry in ledger.entries if entry.type == "ForeignObjectFound"]
    assert found == ["Replaced"]


@pytest.mark.attack(52, 59)
async def test_jobs_and_pods_count_by_their_owner_and_not_by_their_labels(site: Site) -> None:
    key, uid, attempt = await requested(site)
    labels = {"tunegate.io/job-uid": uid, "tunegate.io/stage": "Validate", "tunegate.io/attempt": "1"}
    pod = {"restartPolicy": "Never", "containers": [{"name": "stage", "image": "example.invalid/none"}]}
    metadata = {"name": "theirs", "namespace": site.namespace, "labels": labels}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"suspend": True, "template": template}
    await site.kube.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    await site.kube.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**pod, "nodeName": "none"}}
    )
    services = Services(site.kube, site.settings, site.registry, Memory(), None)
    raw = await site.kube.get(ObjectRef("tunegate.io/v1alpha1", "FineTuneJob", key.name, key.namespace))
    controller = FineTuneJobController(services)
    begun: list[str] = []
    for _ in range(20):  # An installed operator may say in between that the base model's claim is missing.
        await site.kube.apply(site.ready, subresource="status")
        plan = await controller.reconcile(key)
        assert plan is not None
        if begun := [obj["metadata"]["name"] for obj in plan.creates if obj["kind"] == "Job"]:
            break
    assert raw is not None
    assert FineTuneJob.model_validate(raw).status.stage("Validate").attempt == 0
    assert begun == [attempt]
