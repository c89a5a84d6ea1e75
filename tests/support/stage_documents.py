"""Objects and results as the stages of a real job would give them, valid under the contract."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.support.builders import (
    IMAGE,
    make_approvalpolicy,
    make_basemodel,
    make_computepool,
    make_evaluationsuite,
    make_finetunejob,
    make_modelserver,
)
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.datachecks import DEFAULTS
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.modelserver import ModelServer
from tunegate.api.stage.configs import (
    BaselineConfig,
    EvaluateConfig,
    SealConfig,
    StageConfig,
    TrainConfig,
    ValidateConfig,
)
from tunegate.api.stage.probe import Probe
from tunegate.api.stage.results import (
    ArmResult,
    ArmVerdict,
    BaselineResult,
    EvaluateResult,
    SealResult,
    StageInputs,
    TrainResult,
    ValidateResult,
)
from tunegate.digests import document_digest, manifest_digest, sha256
from tunegate.reconcile.finetunejob.observed import StageSettings

UID = "0f0e0d0c-1111-2222-3333-444455556666"
NAMESPACE = "team"
SETTINGS = StageSettings(
    trainer_image="registry.example/tunegate/trainer@sha256:" + "1" * 64,
    registry_host="registry.example:5000",
    registry_plain_http=False,
    pull_secrets=("pull",),
)
MANIFEST = Manifest(files=[FileEntry(path="config.json", size=2, sha256="a" * 64)])
ADAPTER = Manifest(files=[FileEntry(path="adapter_model.safetensors", size=9, sha256="b" * 64)])


def job(status: dict[str, Any] | None = None, generation: int = 1, **changes: Any) -> FineTuneJob:
    obj = make_finetunejob("copyright", NAMESPACE, **changes)
    obj["metadata"] |= {"uid": UID, "generation": generation, "creationTimestamp": "2026-11-01T00:00:00Z"}
    return FineTuneJob.model_validate({**obj, "status": status or {}})


@cache
def _standard() -> dict[str, Any]:
    return _objects({"maxNodes": 2})


def world_objects(**pool: Any) -> dict[str, Any]:
    """Everything a job refers to, ready for use; ``pool`` changes the pool's spec. Copy before changing."""
    return _objects({"maxNodes": 2, **pool}) if pool else _standard()


def _objects(pool: dict[str, Any]) -> dict[str, Any]:
    base = make_basemodel()
    base["status"] = {"phase": "Ready", "manifestDigest": manifest_digest(MANIFEST), "resultDigest": sha256(b"hash")}
    pools = ComputePool.model_validate(make_computepool(**pool))
    label = {"metadata": {"name": "data", "labels": {"tunegate.io/usable-by-jobs": "true"}}}
    return {
        "server": ModelServer.model_validate(make_modelserver(namespace=NAMESPACE)),
        "base_model": BaseModel.model_validate(base),
        "base_manifest": MANIFEST,
        "suite": EvaluationSuite.model_validate(make_evaluationsuite(namespace=NAMESPACE)),
        "pool": pools,
        "server_pool": pools,
        "policy": ApprovalPolicy.model_validate(make_approvalpolicy()),
        "engine_images": (IMAGE,),
        "claims": {"data": label, "models": {"metadata": {"name": "models"}}},
    }


def profile_digest() -> str:
    return document_digest(world_objects()["server"].spec.profile.to_dict())


def suite_digest() -> str:
    return document_digest(world_objects()["suite"].spec.to_dict())


def validated(outcome: Any = "Passed", **changes: Any) -> ValidateResult:
    facts: dict[str, Any] = {
        "outcome": outcome, "checks": list(DEFAULTS.values()), "dataset_digest": sha256(b"rows"), "rows_digest": sha256(b"row set"), "statement_digest": sha256(b"statement"), "page_digest": sha256(b"page"),
        "rows": 267, "tokens": 30_000, "longest_row_tokens": 200,
        "dataset_form": "Messages", "token_histogram": {"256": 240}, "near_duplicates": 1, "rows_too_long": 0, "duplicates": 3, "overlap_rows": 0, "training_rows": 240, "development_rows": 27,
        "suite_questions": 112, "trainable_parameters": 5_000_000, "total_parameters": 135_000_000,
        "adapter_bytes": 10_000_000, "peak_memory_bytes": 2**30, "memory_parts": {"weights": 2**29},
        "device_hours": 0.1, "cost": 0.0, "smallest_visible_gain": 0.11, "chat_template_digest": sha256(b"template"),
    }  # fmt: skip
    return ValidateResult(**{**facts, **changes})


def baselined(outcome: Any = "Passed") -> BaselineResult:
    arms = [
        ArmResult(name="BasePlain", scores={"ExactMatch": 0.0}, answered=112, seconds=20.0),
        ArmResult(name="BaseFewShot", scores={"ExactMatch": 0.125}, answered=112, seconds=30.0),
    ]
    return BaselineResult(
        outcome=outcome, best_arm="BaseFewShot", arms=arms, questions=112, cache_key=sha256(b"key"),
        answers_digest=sha256(b"answers"), prompt="…",
    )  # fmt: skip


def trained(outcome: Any = "Passed") -> TrainResult:
    return TrainResult(
        outcome=outcome, steps=60, epochs=2.0, tokens=60_000, training_loss=0.4, development_loss=0.5, best_step=60,
        overfitting=False, loss_history=[(60, 0.4)], development_history=[(60, 0.5)], seconds=300.0,
        resumed_from_step=0, foreign_checkpoints=0, world_size=1, adapter_digest=sha256(b"adapter files"), hyperparameters={}, libraries={},
    )  # fmt: skip


def sealed(outcome: Any = "Passed") -> SealResult:
    if outcome == "Refused":
        return SealResult(outcome="Refused")
    return SealResult(
        outcome="Passed", repository=f"{NAMESPACE}/copyright-0f0e0d0c/adapter", digest=sha256(b"oci"), manifest=ADAPTER,
        manifest_digest=manifest_digest(ADAPTER), bytes=9, rank=16, target_modules=["q_proj"],
    )  # fmt: skip


def evaluated(outcome: Any = "Pass", **changes: Any) -> EvaluateResult:
    difference = {"Pass": 0.34, "Fail": -0.1, "Inconclusive": 0.04}[outcome]
    arm = ArmVerdict(
        name="Regex",
        score=0.45,
        difference=difference,
        lower=difference - 0.09,
        upper=difference + 0.09,
        outcome=outcome,
        answered=112,
    )
    facts: dict[str, Any] = {
        "outcome": outcome, "metric": "ExactMatch", "margin": 0.05, "minimum": 0.0,
        "tuned": {"ExactMatch": 0.45 + difference}, "arms": [arm], "guardrails": [], "questions": 112, "groups": 112,
        "resamples": 10_000, "seed": 17, "adapter_manifest_digest": manifest_digest(ADAPTER),
        "base_model_digest": manifest_digest(MANIFEST), "profile_digest": profile_digest(),
        "suite_digest": suite_digest(), "answers_digest": sha256(b"tuned answers"),
        "probe": Probe(items=[], tolerance=0.05), "reasons": [],
    }  # fmt: skip
    return EvaluateResult(**{**facts, **changes})


def read_by(config: StageConfig) -> StageInputs:
    """What an honest stage says that it read, given volumes on which lies what was promised."""
    found: dict[str, Any] = {}
    if isinstance(config, ValidateConfig | BaselineConfig | TrainConfig | EvaluateConfig):
        found |= {"base_model": config.base_model.manifest_digest, "dataset": config.dataset.digest or sha256(b"rows")}
    if isinstance(config, ValidateConfig | BaselineConfig | EvaluateConfig):
        profile = document_digest(config.profile.to_dict())
        found |= {"profile": profile, "suite": document_digest(config.suite.spec.to_dict())}
    if isinstance(config, ValidateConfig | BaselineConfig) and config.documents:
        found["documents"] = config.documents.digest or sha256(b"text")
    if isinstance(config, ValidateConfig) and config.import_path:
        found["adapter"] = sha256(b"adapter files")
    if isinstance(config, SealConfig):
        found["adapter"] = config.source_digest
    if isinstance(config, EvaluateConfig):
        found |= {"adapter": config.adapter.manifest_digest, "baseline_result": config.baseline_result}
    return StageInputs(**found)


GOOD: dict[str, Any] = {
    "Validate": validated, "Baseline": baselined, "Train": trained, "Seal": sealed, "Evaluate": evaluated,
}  # fmt: skip
