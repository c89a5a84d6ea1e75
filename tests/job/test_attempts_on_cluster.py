"""Real Jobs and pods end in every way there is; the planner reads each end as what it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import NamespaceFactory
from tests.support.programs import CACHE
from tests.support.stage_documents import SETTINGS, job, sealed, trained, validated, world_objects
from tunegate.api.finetunejob.status import StageName
from tunegate.api.reasons import StageReason
from tunegate.digests import sha256
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.reconcile.attempt.attempt import Attempt, attempts
from tunegate.reconcile.attempt.images import run_images
from tunegate.reconcile.attempt.placement import Placement, place
from tunegate.reconcile.attempt.pod_end import Ended
from tunegate.reconcile.attempt.verdict import OnItsWay, judge
from tunegate.reconcile.finetunejob.configs import attempt_objects
from tunegate.reconcile.finetunejob.inputs import Inputs, resolve
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.naming import JOB_UID_LABEL, registry_secret_name

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("its pods run images of the local registry"),
    pytest.mark.timeout(300),
]
Json = dict[str, Any]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
STAGES: tuple[StageName, ...] = ("Validate", "Baseline", "Train", "Seal", "Evaluate")
SECONDS = 180.0


def local_image(name: str = "base") -> str:
    """Return the reference of an image that the local cluster built."""
    return str(json.loads((CACHE / "images.json").read_text())[name])


@dataclass(frozen=True)
class Place:
    """A namespace that allows restricted pods only, with what stage pods need."""

    kube: KubeClient
    namespace: str

    async def start(self, stage: StageName, script: str | None, *, pool: Json | None = None, **spec: Any) -> Attempt:
        """Create an attempt as the operator would; ``script`` replaces what its container runs."""
        objects = self.objects(stage, pool or {}, spec)
        for obj in objects:
            # The FineTuneJob itself is not there, and the garbage collector would take these away.
            obj["metadata"].pop("ownerReferences")
            if obj["kind"] == "Job" and script is not None:
                container = obj["spec"]["template"]["spec"]["containers"][0]
                container |= {"image": local_image(), "command": ["python3", "-c", script], "args": []}
            await self.kube.create(obj)
        return await self.look(stage)

    def objects(self, stage: StageName, pool: Json, spec: Json) -> list[Json]:
        digests = {name: sha256(name.encode()) for name in STAGES}
        stages = [{"name": name, "state": "Done", "attempt": 1, "resultDigest": digests[name]} for name in STAGES[:4]]
        owner = job({"observedGeneration": 1, "stages": stages}, **spec)
        owner.metadata["namespace"] = self.namespace
        results: dict[str, Any] = {digests["Train"]: trained(), digests["Seal"]: sealed()}
        small = {"stageResources": {"cpu": "50m", "memory": "96Mi"}}
        world = world_objects(**{**small, **pool})
        seen = Observed(job=owner, results=results, fresh_checkpoint_key=bytes(range(32)), **world)
        inputs = resolve(seen)
        assert isinstance(inputs, Inputs), inputs
        return attempt_objects(seen, inputs, SETTINGS, stage, 2)

    async def look(self, stage: str) -> Attempt:
        labels = {JOB_UID_LABEL: str(job().uid)}
        jobs = await self.kube.list("batch/v1", "Job", self.namespace, labels=labels)
        pods = await self.kube.list("v1", "Pod", self.namespace, labels=labels)
        return attempts(jobs, pods).get((stage, 2), Attempt(stage, 2, None, ()))

    async def end_of(self, stage: str, results: Json | None = None) -> Ended:
        """Wait for the attempt's end."""
        for _ in range(int(SECONDS * 2)):
            attempt = await self.look(stage)
            verdict = judge(attempt, results or {}, datetime.now(UTC))
            if not isinstance(verdict, OnItsWay):
                assert isinstance(verdict, Ended), verdict
                return verdict
            await asyncio.sleep(0.5)
        raise AssertionError(f"no end: {[pod['status'] for pod in attempt.pods]}")

    async def placed(self, stage: str, holds: Callable[[Placement], bool], nodes: int = 1) -> Placement:
        """Wait for a placement."""
        for _ in range(int(SECONDS * 2)):
            attempt = await self.look(stage)
            found = place(attempt, nodes)
            if holds(found):
                return found
            await asyncio.sleep(0.5)
        raise AssertionError(f"{found}: {[pod['status'] for pod in attempt.pods]}")

    async def pods_at_work(self, stage: str, nodes: int = 1) -> list[Json]:
        await self.placed(stage, lambda found: found.at_work, nodes)
        return [dict(pod) for pod in (await self.look(stage)).pods]


@pytest.fixture
async def place_of_work(kube: KubeClient, namespaces: NamespaceFactory) -> Place:
    return await furnish(kube, await namespaces("job"))


async def furnish(kube: KubeClient, namespace: str) -> Place:
    """Make what stage pods need in a namespace."""
    labels = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": RESTRICTED}}
    await kube.apply(labels, manager="test")
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
    secret = registry_secret_name("copyright", str(job().uid))
    for obj in (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tunegate-stage"}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret},
            "stringData": {"config.json": '{"auths": {}}'},
        },
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": claim},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": claim},
    ):
        await kube.create({**obj, "metadata": {**obj["metadata"], "namespace": namespace}})  # type: ignore[dict-item]
    return Place(kube, namespace)


@pytest.mark.parametrize("stage", STAGES)
async def test_the_server_takes_the_objects_and_lets_the_restricted_pod_in(
    place_of_work: Place, stage: StageName
) -> None:
    """The images do not exist: that the pod is made, and complains of that alone, is what is shown."""
    await place_of_work.start(stage, None)
    found = await place_of_work.placed(stage, lambda placed: placed.reason == "WaitingForImage")
    assert found.scheduled == "False"


SLEEP = "import time; time.sleep(600)"
STOPPABLE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))
time.sleep(600)
"""
LAST_WORD = """
import json
word = {{"reason": "Completed", "message": "", "resultDigest": "{digest}"}}
open("/dev/termination-log", "w").write(json.dumps(word))
"""
HUNGRY = "block = bytearray(256 * 2**20)\nfor i in range(0, len(block), 4096): block[i] = 1\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit(1)", StageReason.UNKNOWN),
        ("raise SystemExit(3)", StageReason.BAD_INPUT),
        ("raise SystemExit(4)", StageReason.UNAVAILABLE),
        ("raise SystemExit(75)", StageReason.PREEMPTED),
        ("pass", StageReason.NO_RESULT),
        (HUNGRY, StageReason.OUT_OF_MEMORY),
        ("open('/etc/x', 'w')", StageReason.UNKNOWN),
    ],
)
async def test_a_pod_that_ends_by_itself_is_classified(place_of_work: Place, script: str, reason: StageReason) -> None:
    await place_of_work.start("Validate", script)
    assert (await place_of_work.end_of("Validate")).reason == reason


async def test_a_result_that_is_named_in_the_last_word_is_the_verdict(place_of_work: Place) -> None:
    digest = sha256(b"result")
    await place_of_work.start("Validate", LAST_WORD.format(digest=digest))
    ended = await place_of_work.end_of("Validate", {digest: validated()})
    assert (ended.reason, ended.result_digest) == (StageReason.COMPLETED, digest)
    (ran,) = run_images((await place_of_work.look("Validate")).pods)
    assert (ran.container, ran.image) == ("stage", local_image()), "the node's own word, in a form that is understood"


async def delete_pod(place: Place, pod: Json) -> None:
    await place.kube.delete(ObjectRef("v1", "Pod", pod["metadata"]["name"], place.namespace))


async def evict_pod(place: Place, pod: Json) -> None:
    metadata = {"name": pod["metadata"]["name"], "namespace": place.namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{place.namespace}/pods/{metadata['name']}/eviction"
    await place.kube._request("POST", path, "evict", body=body)


async def delete_job(place: Place, pod: Json) -> None:
    await place.kube.delete(ObjectRef("batch/v1", "Job", pod["metadata"]["labels"]["job-name"], place.namespace))


@pytest.mark.parametrize("take_away", [delete_pod, evict_pod, delete_job])
@pytest.mark.parametrize("code", [75, 143])
async def test_a_pod_that_is_taken_away_counts_as_a_disruption(
    place_of_work: Place, take_away: Callable[[Place, Json], Awaitable[None]], code: int
) -> None:
    await place_of_work.start("Validate", STOPPABLE.format(code=code))
    (pod,) = await place_of_work.pods_at_work("Validate")
    await take_away(place_of_work, pod)
    ended = await place_of_work.end_of("Validate")
    assert ended.reason in (StageReason.DISRUPTED, StageReason.PREEMPTED)
    assert not [pod for pod in (await place_of_work.look("Validate")).pods if pod["status"]["phase"] == "Running"]


async def test_a_pod_without_a_device_says_what_it_waits_for(place_of_work: Place) -> None:
    await place_of_work.start("Train", SLEEP, pool={"deviceResource": "example.com/gpu"})
    found = await place_of_work.placed("Train", lambda placed: placed.reason == "WaitingForDevice")
    assert "example.com/gpu" in found.message


MEETING = """
import os, socket, time
port = int(os.environ["MASTER_PORT"])
if os.environ["JOB_COMPLETION_INDEX"] == "0":
    server = socket.create_server(("", port))
    peer, _ = server.accept()
    assert peer.recv(5) == b"hello"
else:
    for _ in range(120):
        try:
            peer = socket.create_connection((os.environ["MASTER_ADDR"], port), timeout=5)
            break
        except OSError:
            time.sleep(1)
    peer.sendall(b"hello")
open("/workspace/seen-" + os.environ["JOB_COMPLETION_INDEX"], "w").close()
"""
BROKEN_PEER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
time.sleep(5)
if os.environ["JOB_COMPLETION_INDEX"] == "1":
    raise SystemExit(1)
time.sleep(600)
"""


async def test_two_pods_of_a_training_meet_and_share_the_workspace(place_of_work: Place) -> None:
    await place_of_work.start("Train", MEETING, method={"type": "LoRA", "numNodes": 2})
    ended = await place_of_work.end_of("Train")
    assert (ended.reason, len((await place_of_work.look("Train")).pods)) == (StageReason.NO_RESULT, 2)


async def test_one_failed_pod_ends_the_whole_training(place_of_work: Place) -> None:
    await place_of_work.start("Train", BROKEN_PEER, method={"type": "LoRA", "numNodes": 2})
    assert (await place_of_work.end_of("Train")).reason == StageReason.UNKNOWN
