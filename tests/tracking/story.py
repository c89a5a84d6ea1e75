"""A job that went all the way, and its release: as the API server and the registry would give them."""

from __future__ import annotations

from typing import Any

from tests.support.builders import make_finetunejob, make_modelrelease
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.stage.results import BaselineResult, EvaluateResult, SealResult, StageResult, TrainResult

UID = "11111111-2222-3333-4444-555555555555"
RELEASE_UID = "99999999-2222-3333-4444-555555555555"
GATE_QUESTION = "Copyright 1999 by a holder of the gate"


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def results() -> dict[StageName, StageResult]:
    """Result documents of baseline, train, seal and evaluate."""
    return {
        "Baseline": BaselineResult.model_validate(
            {
                "outcome": "Passed",
                "bestArm": "Regex",
                "arms": [
                    {"name": "BasePlain", "scores": {"ExactMatch": 0.0}, "answered": 112, "seconds": 20.0},
                    {"name": "Regex", "scores": {"ExactMatch": 0.45}, "answered": 112, "seconds": 0.1},
                ],
                "questions": 112,
                "cacheKey": digest("a"),
                "answersDigest": digest("b"),
                "prompt": "{text}",
            }
        ),
        "Train": TrainResult.model_validate(
            {
                "outcome": "Passed",
                "steps": 60,
                "epochs": 1.8,
                "tokens": 30000,
                "trainingLoss": 0.4,
                "developmentLoss": 0.5,
                "bestStep": 60,
                "overfitting": False,
                "lossHistory": [[1, 2.0], [30, 1.0], [60, 0.4]],
                "developmentHistory": [[30, 1.1], [60, 0.5]],
                "seconds": 140.0,
                "resumedFromStep": 0,
                "worldSize": 1,
                "adapterDigest": "sha256:" + "8" * 64,
                "hyperparameters": {"rank": "16"},
                "libraries": {"peft": "0.21.2"},
            }
        ),
        "Seal": SealResult.model_validate(
            {"outcome": "Passed", "repository": "team/job-11111111/adapter", "digest": digest("c"), "bytes": 9830400}
        ),
        "Evaluate": EvaluateResult.model_validate(
            {
                "outcome": "Pass",
                "metric": "ExactMatch",
                "margin": 0.05,
                "minimum": 0.5,
                "tuned": {"ExactMatch": 0.795, "SchemaValidity": 1.0},
                "arms": [
                    {
                        "name": "Regex", "score": 0.45, "difference": 0.345, "lower": 0.25, "upper": 0.44,
                        "outcome": "Pass", "answered": 112,
                    }
                ],
                "guardrails": [],
                "questions": 112,
                "groups": 100,
                "resamples": 2000,
                "seed": 17,
                "adapterManifestDigest": digest("d"),
                "baseModelDigest": digest("e"),
                "profileDigest": digest("f"),
                "suiteDigest": digest("1"),
                "answersDigest": digest("2"),
                "probe": {
                    "items": [
                        {
                            "messages": [{"role": "user", "content": GATE_QUESTION}], "answer": "{}",
                            "tunedLogprob": -0.1, "baseLogprob": -2.5,
                        }
                    ],
                    "tolerance": 0.05,
                },
                "reasons": ["beats every alternative"],
            }
        ),
    }  # fmt: skip


def job_status(stage_digests: dict[StageName, str]) -> dict[str, Any]:
    """Status of the job when it is over."""
    return {
        "phase": "Succeeded",
        "completionTime": "2026-11-01T12:30:00Z",
        "baseModelDigest": digest("e"),
        "profileDigest": digest("f"),
        "suiteDigest": digest("1"),
        "dataset": {
            "digest": digest("3"), "rows": 267, "tokens": 30000, "duplicates": 0, "overlapRows": 0,
            "developmentRows": 26,
        },
        "adapter": {
            "repository": "team/job-11111111/adapter", "digest": digest("c"), "manifestDigest": digest("d"),
            "bytes": 9830400, "rank": 16,
        },
        "gate": {
            "outcome": "Pass", "metric": "ExactMatch", "tuned": "0.7950", "questions": 112,
            "adapterDigest": digest("d"),
        },
        "stages": [
            {
                "name": name, "state": "Done", "completionTime": "2026-11-01T12:10:00Z", "resultDigest": found,
                "images": [{"container": "stage", "image": "trainer:1", "digest": digest("8")}],
            }
            for name, found in stage_digests.items()
        ],
    }  # fmt: skip


def finished_job(**status: Any) -> FineTuneJob:
    raw = make_finetunejob()
    raw["metadata"] |= {"uid": UID, "generation": 1, "creationTimestamp": "2026-11-01T12:00:00Z"}
    found = {name: digest("9") for name in results()}
    return FineTuneJob.model_validate({**raw, "status": {**job_status(found), **status}})


def pending_release(**status: Any) -> ModelRelease:
    raw = make_modelrelease()
    raw["metadata"] |= {"uid": RELEASE_UID, "generation": 1, "creationTimestamp": "2026-11-01T13:00:00Z"}
    known = {
        "phase": "PendingApproval",
        "releaseDigest": digest("4"),
        "statementDigest": digest("5"),
        "approvals": "1/2",
        "servedName": "release-cccccccc",
        "counted": [{"name": "a", "username": "ravi", "role": "risk", "time": "2026-11-01T13:30:00Z"}],
    }
    return ModelRelease.model_validate({**raw, "status": {**known, **status}})
