"""The objects of a stage's attempt, as the planner makes them from a job and what earlier stages found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.builders import HUB_SOURCE, make_basemodel
from tests.support.stage_documents import SETTINGS, job, sealed, trained, validated, world_objects
from tunegate.api.basemodel import BaseModel
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.pushed import Pushed
from tunegate.api.stage.layout import STORE_REQUIRED
from tunegate.api.stage.results import StageInputs
from tunegate.digests import sha256
from tunegate.reconcile.finetunejob.configs import attempt_objects
from tunegate.reconcile.finetunejob.inputs import Inputs, resolve
from tunegate.reconcile.finetunejob.observed import Observed, StoreSecret

Json = dict[str, Any]
STAGES = ("Validate", "Baseline", "Train", "Seal", "Evaluate")
IMAGE = "registry.example/engine@sha256:" + "2" * 64
OPEN = StoreSecret({"tunegate.io/usable-by-jobs": "true"}, frozenset(STORE_REQUIRED))
IN_STORE: Json = {**job().spec.dataset.to_dict(), "uri": "s3://training/sets/rows", "secretName": "bucket"}
REDACTING: Json = {"checks": [{"name": "PersonalData", "action": "Redact"}]}
REDACTED: Json = {
    "digest": sha256(b"source"), "redactedDigest": sha256(b"redacted"), "rows": 1, "tokens": 1, "duplicates": 0, "developmentRows": 0,
}  # fmt: skip
GPU: Json = {
    "deviceResource": "nvidia.com/gpu", "devicesPerNode": 2, "maxNodes": 2, "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
}  # fmt: skip


def objects(
    stage: Any,
    *,
    pool: Json | None = None,
    store_secret: StoreSecret | None = None,
    documents_secret: StoreSecret | None = None,
    dataset_status: Json | None = None,
    documents_digest: str | None = None,
    base_model: BaseModel | None = None,
    checkpoint_secret: Json | None = None,
    pushed: Mapping[str, Pushed | None] | None = None,
    suite: EvaluationSuite | None = None,
    **spec: Any,
) -> dict[str, Json]:
    read = StageInputs(adapter=sha256(b"imported files"))
    checked = validated().model_copy(update={"inputs": read})
    results = {
        sha256(b"Validate"): checked,
        sha256(b"Train"): trained(),
        sha256(b"Seal"): sealed(),
        sha256(b"Baseline"): None,
    }
    stages = [
        {"name": name, "state": "Done", "attempt": 1, "resultDigest": sha256(name.encode())}
        for name in ("Validate", "Baseline", "Train", "Seal")
    ]
    facts = {
        **world_objects(**(pool or {})), "store_secret": store_secret, "pushed": pushed or {}, "documents_secret": documents_secret,
        "checkpoint_secret": checkpoint_secret, "fresh_checkpoint_key": bytes(32), "hub_endpoint": "https://hub.example", **({"base_model": base_model} if base_model else {}),
        **({"suite": suite} if suite else {}),
    }  # fmt: skip
    found = {"dataset": dataset_status, "documentsDigest": documents_digest}
    status = {"observedGeneration": 1, "stages": stages, **{key: value for key, value in found.items() if value}}
    seen = Observed(job=job(status, **spec), results=results, **facts)  # type: ignore[arg-type]
    inputs = resolve(seen)
    assert isinstance(inputs, Inputs), inputs
    return {obj["kind"]: obj for obj in attempt_objects(seen, inputs, SETTINGS, stage, 2)}


def pod(stage: str, **more: Any) -> Json:
    found: Json = objects(stage, **more)["Job"]["spec"]["template"]["spec"]
    return found


def containers(spec: Json) -> list[Json]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def mirrored(**hub: Any) -> BaseModel:
    made = make_basemodel(source=HUB_SOURCE, hub=hub or None)
    return BaseModel.model_validate({**made, "status": world_objects()["base_model"].status.to_dict()})
