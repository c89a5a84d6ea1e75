"""A release whose evidence is complete, as the live objects and documents that a controller would read."""

from __future__ import annotations

import uuid
from typing import Any

from tests.support.builders import (
    make_approval,
    make_approvalpolicy,
    make_basemodel,
    make_evaluationsuite,
    make_finetunejob,
    make_modelrelease,
    make_modelserver,
)
from tunegate.api.basemodel import BaseModel
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelserver import ModelServer
from tunegate.digests import document_digest

Json = dict[str, Any]
REVIEWERS = {"ravi": ("risk", "model-risk"), "cora": ("compliance", "compliance")}


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def catalogue(namespace: str = "team") -> dict[str, Json]:
    """Return base model, server, suite and policy with their status, by kind."""
    base = make_basemodel() | {"status": {"phase": "Ready", "manifestDigest": digest("b")}}
    server = make_modelserver("server", namespace)
    suite = make_evaluationsuite("suite", namespace)
    return {"BaseModel": base, "ModelServer": server, "EvaluationSuite": suite, "ApprovalPolicy": make_approvalpolicy()}


def digests_of(world: dict[str, Json]) -> tuple[str, str]:
    """Return the digests of the engine profile and of the suite."""
    server = ModelServer.model_validate(world["ModelServer"])
    suite = EvaluationSuite.model_validate(world["EvaluationSuite"])
    assert BaseModel.model_validate(world["BaseModel"]).status.phase == "Ready"
    return document_digest(server.spec.profile.to_dict()), document_digest(suite.spec.to_dict())


def job_status(world: dict[str, Json], result: str) -> Json:
    """Return the status of a job that passed its gate; ``result`` is the OCI digest of the evaluation's document."""
    profile, suite = digests_of(world)
    return {
        "phase": "Succeeded",
        "stages": [{"name": "Evaluate", "state": "Done", "attempt": 1, "resultDigest": result}],
        "dataset": {
            "digest": digest("d"), "statementDigest": digest("f"), "rows": 267, "tokens": 30_000, "duplicates": 0,
            "overlapRows": 0, "developmentRows": 26,
        },
        "baseModelDigest": digest("b"),
        "profileDigest": profile,
        "suiteDigest": suite,
        "suiteDataDigest": EvaluationSuite.model_validate(world["EvaluationSuite"]).spec.data.digest,
        "adapter": {
            "repository": "team/job-11111111/adapter", "digest": digest("a"), "manifestDigest": digest("c"),
            "bytes": 1000, "rank": 16,
        },
        "gate": {
            "outcome": "Pass", "metric": "ExactMatch", "tuned": "0.795", "questions": 112, "adapterDigest": digest("c"),
        },
    }  # fmt: skip


def evaluation(world: dict[str, Json], **changes: Any) -> Json:
    """Return the evaluation's result document."""
    profile, suite = digests_of(world)
    return {
        "stage": "Evaluate", "outcome": "Pass", "metric": "ExactMatch", "margin": 0.05, "minimum": 0.0,
        "tuned": {"ExactMatch": 0.795}, "arms": [], "guardrails": [], "questions": 112, "groups": 112,
        "resamples": 10_000, "seed": 17, "adapterManifestDigest": digest("c"), "baseModelDigest": digest("b"),
        "profileDigest": profile, "suiteDigest": suite, "answersDigest": digest("e"),
        "probe": {"items": [], "tolerance": 0.05}, "reasons": [], **changes,
    }  # fmt: skip


def with_metadata(obj: Json, **metadata: Any) -> Json:
    """Return the object as the API server would give it: with uid, generation and creation time."""
    given = {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": "2026-11-24T12:00:00Z"}
    return {**obj, "metadata": {**given, **obj["metadata"], **metadata}}


def finished_job(world: dict[str, Json], result: str, namespace: str = "team") -> Json:
    made = with_metadata(make_finetunejob("job", namespace, requestedBy={"username": "erin"}))
    made["status"] = job_status(world, result)
    assert FineTuneJob.model_validate(made).status.gate
    return made


def release_of(job: Json, namespace: str = "team", **changes: Any) -> Json:
    reference = {"name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    return make_modelrelease("release", namespace, jobRef=reference, requestedBy={"username": "erin"}, **changes)


def decision(release: Json, who: str, name: str = "", **changes: Any) -> Json:
    """Return an Approval of the release as ``who`` would make it."""
    role, group = REVIEWERS.get(who, ("risk", "model-risk"))
    metadata = release["metadata"]
    spec: Json = {
        "subjectRef": {"kind": "ModelRelease", "name": metadata["name"], "uid": metadata["uid"]},
        "subjectDigest": release.get("status", {}).get("releaseDigest", digest("0")),
        "role": role,
        "approver": {"username": who, "groups": [group]},
        "reason": "report and data were read",
    }
    return make_approval(name or f"{who}-approves", metadata.get("namespace", "team"), **{**spec, **changes})
