"""Why Kubernetes could not create a pod is read from the events of a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.control_plane import ControlPlane, Member, running_control_plane
from tunegate.controllers.finetunejob.refusals import pod_refusal
from tunegate.kube.client import KubeClient

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
Json = dict[str, Any]
JOB: Json = {"metadata": {"name": "train-1", "namespace": "default", "uid": "1-1"}, "spec": {"completions": 2}}
QUOTA = 'pods "train-1-0" is forbidden: exceeded quota: gpus, requested: pods=1, used: pods=8, limited: pods=8'


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    members = (Member("admin", "tunegate-admin", ("system:masters",)), Member("nobody", "nobody"))
    with running_control_plane(tmp_path_factory.mktemp("plane"), members) as running:
        yield running


def event(name: str, uid: str, reason: str, message: str, time: str) -> Json:
    about = {"kind": "Job", "apiVersion": "batch/v1", "name": "train-1", "namespace": "default", "uid": uid}
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"}, "type": "Warning",
        "involvedObject": about, "reason": reason, "message": message, "lastTimestamp": time,
    }  # fmt: skip


async def test_the_newest_refusal_of_this_very_job_is_read(plane: ControlPlane) -> None:
    async with await KubeClient.connect(plane.kubeconfig("admin")) as kube:
        assert await pod_refusal(kube, JOB, []) is None
        for made in (
            event("b", "1-1", "FailedCreate", f"Error creating: {QUOTA}", "2026-11-01T00:00:09Z"),
            event("a", "1-1", "FailedCreate", "Error creating: an older one", "2026-11-01T00:00:01Z"),
            event("c", "2-2", "FailedCreate", "Error creating: of another Job", "2026-11-01T00:00:10Z"),
            event("d", "1-1", "SuccessfulCreate", "Created pod", "2026-11-01T00:00:11Z"),
        ):
            await kube.create(made)

        assert await pod_refusal(kube, JOB, [{}]) == QUOTA
        assert await pod_refusal(kube, JOB, [{}, {}]) is None, "no pod is missing"
        assert await pod_refusal(kube, None, []) is None


async def test_events_that_may_not_be_read_stop_nothing(plane: ControlPlane) -> None:
    async with await KubeClient.connect(plane.kubeconfig("nobody")) as kube:
        assert await pod_refusal(kube, JOB, []) is None
