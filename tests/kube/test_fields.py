"""What a manager applied is read back from the object, so that nothing is written that is there already."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.builders import make_finetunejob
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.kube.fields import applied, same

Json = dict[str, Any]
READY: Json = {
    "type": "Ready", "status": "True", "reason": "Hashed", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    "observedGeneration": 1,
}  # fmt: skip
LINEAGE: Json = {**READY, "type": "LineageRecorded", "reason": "Recorded"}


def test_an_object_without_an_apply_of_ours_has_no_applied_part() -> None:
    obj: Json = {"metadata": {"managedFields": [{"manager": "kubectl", "operation": "Update"}]}, "status": {"a": 1}}

    assert applied(obj, "tunegate-operator", "status") is None


def test_empty_parts_count_as_absent_and_nothing_else_does() -> None:
    assert same({"a": 0, "b": [], "c": {"d": {}}}, {"a": 0})
    assert not same({"a": 0}, {})
    assert not same({"a": ""}, {})
    assert not same(None, {"a": 1})


@pytest.mark.cluster
async def test_two_managers_each_read_back_exactly_what_they_applied(kube: KubeClient, namespace: str) -> None:
    """The job's own controller and the lineage controller write to one status without knowing of each other."""
    job = await kube.create(make_finetunejob(namespace=namespace))
    first: Json = {
        "phase": "Validating",
        "observedGeneration": 1,
        "conditions": [READY],
        "stages": [{"name": "Validate", "state": "Running", "attempt": 1}, {"name": "Train", "state": "Waiting"}],
        "progress": {"percent": 5},
    }
    second: Json = {"mlflowRunId": "run", "conditions": [LINEAGE]}

    await kube.apply(_with_status(job, first), manager="one", subresource="status")
    await kube.apply(_with_status(job, second), manager="two", subresource="status")
    live = await _get(kube, job)

    assert first == applied(live, "one", "status")
    assert second == applied(live, "two", "status")
    assert "run" == live["status"]["mlflowRunId"]
    assert {"Ready", "LineageRecorded"} == {c["type"] for c in live["status"]["conditions"]}


@pytest.mark.cluster
async def test_a_field_left_out_of_the_next_apply_is_removed(kube: KubeClient, namespace: str) -> None:
    job = await kube.create(make_finetunejob(namespace=namespace))
    await kube.apply(_with_status(job, {"phase": "Training", "progress": {"percent": 5}}), subresource="status")
    await kube.apply(_with_status(job, {"phase": "Sealing", "stages": []}), subresource="status")
    live = await _get(kube, job)

    assert {"phase": "Sealing", "stages": []} == live["status"]
    assert same({"phase": "Sealing", "stages": []}, applied(live, "tunegate-operator", "status"))


@pytest.mark.cluster
async def test_a_status_changed_by_somebody_else_reads_back_as_different(kube: KubeClient, namespace: str) -> None:
    job = await kube.create(make_finetunejob(namespace=namespace))
    wanted: Json = {"phase": "Training", "message": "ours"}
    await kube.apply(_with_status(job, wanted), subresource="status")
    await kube.apply(_with_status(job, {"message": "theirs"}), manager="somebody", subresource="status")

    assert not same(wanted, applied(await _get(kube, job), "tunegate-operator", "status"))


def _with_status(job: Json, status: Json) -> Json:
    metadata = {key: job["metadata"][key] for key in ("name", "namespace", "uid")}
    return {"apiVersion": job["apiVersion"], "kind": job["kind"], "metadata": metadata, "status": status}


async def _get(kube: KubeClient, obj: Json) -> Json:
    live = await kube.get(ObjectRef.of(obj))
    assert live is not None
    return live
