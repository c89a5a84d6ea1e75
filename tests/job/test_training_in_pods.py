"""The train stage in real pods of the real image: two pods over gloo reach the loss of one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NamespaceFactory
from tests.job.test_attempts_on_cluster import Place, furnish, local_image
from tests.support.registry_process import RunningRegistry, running_registry
from tunegate.api.manifest import Manifest
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT, TrainResult
from tunegate.digests import manifest_digest, sha256
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.manifests.pods import container_security, pod_security
from tunegate.registry.client import RegistryClient
from tunegate_local.settings import GATEWAY

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("its pods run images of the local registry and reach a registry on this machine"),
    pytest.mark.timeout(900),
]
Json = dict[str, Any]
METHOD: Json = {
    "type": "LoRA", "rank": 4, "dropout": "0", "learningRate": "1e-3", "epochs": 4, "maxLength": 64,
    "developmentFraction": "0", "checkpointSteps": 1000,
}  # fmt: skip


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that pods reach at the node's address."""
    with running_registry(tmp_path_factory.mktemp("registry"), address=GATEWAY) as running:
        yield running


async def make_model(place: Place) -> Manifest:
    """Fill the claims of base model and data set, and return the model's manifest."""
    script = (Path(__file__).parent / "small_model.py").read_text()
    container = {
        "name": "main",
        "image": local_image("trainer"),
        "command": ["python3", "-c", script, "/models/smollm2", "/data/train.jsonl"],
        "securityContext": container_security(),
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("models", "data", "tmp")],
    }
    volumes: list[Json] = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("models", "data")]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "small-model", "namespace": place.namespace},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": pod_security(),
            "containers": [container],
            "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
        },
    }
    await place.kube.create(pod)
    ref = ObjectRef("v1", "Pod", "small-model", place.namespace)
    for _ in range(360):
        found = await place.kube.get(ref)
        if found is not None and found["status"].get("phase") in ("Succeeded", "Failed"):
            break
        await asyncio.sleep(0.5)
    log = await place.kube.pod_logs(place.namespace, "small-model", "main", tail=20)
    assert found is not None
    assert found["status"]["phase"] == "Succeeded", log
    return Manifest.model_validate_json(log.strip().splitlines()[-1])


async def train(place: Place, registry: RunningRegistry, **method: Any) -> TrainResult:
    """Run the train stage to its verdict with the model that lies on the claim."""
    model = await make_model(place)
    pool = {"stageResources": {"cpu": "200m", "memory": "3Gi"}}
    for obj in place.objects("Train", pool, {"method": {**METHOD, **method}}):
        obj["metadata"].pop("ownerReferences")
        if obj["kind"] == "ConfigMap":
            config = json.loads(obj["data"]["stage.json"])
            config["registry"] = {**config["registry"], "host": registry.host, "plainHttp": True}
            config["baseModel"] |= {"manifest": model.to_dict(), "manifestDigest": manifest_digest(model)}
            config["dataset"].pop("digest", None)
            obj["data"]["stage.json"] = json.dumps(config)
            promised = sha256(obj["data"]["stage.json"].encode())
            repository = f"{config['registry']['repository']}/results"
        if obj["kind"] == "Job":
            container = obj["spec"]["template"]["spec"]["containers"][0]
            container["image"] = local_image("trainer")
            container["args"][container["args"].index("--config-digest") + 1] = promised
        await place.kube.create(obj)
    for _ in range(600):
        pods = (await place.look("Train")).pods
        words = [
            container["state"].get("terminated")
            for pod in pods
            for container in pod["status"].get("containerStatuses", [])
        ]
        if len(words) == method.get("numNodes", 1) and all(words):
            break
        await asyncio.sleep(0.5)
    logs = [await place.kube.pod_logs(place.namespace, pod["metadata"]["name"], "stage", tail=30) for pod in pods]
    assert [word and word["exitCode"] for word in words] == [0] * len(words), "\n".join(logs)
    digest = next(word["resultDigest"] for word in map(_last_word, words) if "resultDigest" in word)
    with RegistryClient(registry.host, plain_http=True) as client:
        result = STAGE_RESULT.validate_json(client.pull_document(repository, digest, media_type=RESULT_MEDIA_TYPE))
    assert isinstance(result, TrainResult)
    return result


def _last_word(terminated: Json) -> Json:
    word: Json = json.loads(terminated["message"])
    return word


async def test_two_pods_reach_the_loss_of_one(
    kube: KubeClient, namespaces: NamespaceFactory, registry: RunningRegistry
) -> None:
    """Same rows, same rows a step: the last losses differ by less than 5 % (the two draw other batches of the rows)."""
    alone, together = [await furnish(kube, await namespaces("job")) for _ in range(2)]
    one = await train(alone, registry, batchSize=8)
    two = await train(together, registry, batchSize=4, numNodes=2)

    assert (one.world_size, two.world_size) == (1, 2)
    assert one.steps == two.steps == 32
    assert two.training_loss == pytest.approx(one.training_loss, rel=0.05)
    assert two.training_loss < 0.9 * two.loss_history[0][1]
