"""One valid object of each kind; keyword arguments replace parts of the spec."""

from __future__ import annotations

from typing import Any

from tunegate.api.markers import API_VERSION

Json = dict[str, Any]
DIGEST = "sha256:" + "0" * 64
ENGINEER: Json = {"username": "engineer", "groups": ["engineers"]}
IMAGE = f"127.0.0.1:5050/tunegate/engine@{DIGEST}"


def _object(kind: str, name: str, namespace: str, spec: Json, changes: Json) -> Json:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    merged = {key: value for key, value in {**spec, **changes}.items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": merged}


def make_basemodel(name: str = "base", **changes: Any) -> Json:
    spec: Json = {
        "source": "pvc://models/smollm2",
        "license": "Apache-2.0",
        "contextLength": 2048,
        "clearedFor": ["Public"],
    }
    return _object("BaseModel", name, "", spec, changes)


HUB_SOURCE = f"hf://acme/tiny-1b@{'0123456789' * 4}"


def make_computepool(name: str = "pool", **changes: Any) -> Json:
    spec: Json = {"deviceMemory": "8Gi", "throughput": "20", "clearedFor": ["Public"]}
    return _object("ComputePool", name, "", spec, changes)


def make_approvalpolicy(name: str = "policy", **changes: Any) -> Json:
    spec: Json = {
        "roles": [{"name": "risk", "groups": ["model-risk"]}, {"name": "compliance", "groups": ["compliance"]}],
        "allowedData": ["Public", "Internal"],
    }
    return _object("ApprovalPolicy", name, "", spec, changes)


def make_modelserver(name: str = "server", namespace: str = "team", **changes: Any) -> Json:
    spec: Json = {
        "baseModelRef": {"name": "base"},
        "poolRef": {"name": "pool"},
        "profile": {"image": IMAGE, "device": "CPU", "maxModelLen": 1024},
    }
    return _object("ModelServer", name, namespace, spec, changes)


def open_route(name: str, served_name: str, release: str = "release") -> Json:
    """Return the status of a route that one release answers under."""
    target = {"servedName": served_name, "releaseRef": {"name": release}, "weight": 100}
    return {"name": name, "state": "Open", "targets": [target]}


def make_evaluationsuite(name: str = "suite", namespace: str = "team", **changes: Any) -> Json:
    spec: Json = {
        "data": {"uri": "pvc://data/gate.jsonl", "digest": DIGEST},
        "task": {"type": "Extraction"},
        "primaryMetric": {"name": "ExactMatch"},
    }
    return _object("EvaluationSuite", name, namespace, spec, changes)


def make_finetunejob(name: str = "job", namespace: str = "team", **changes: Any) -> Json:
    spec: Json = {
        "requestedBy": ENGINEER,
        "serverRef": {"name": "server"},
        "suiteRef": {"name": "suite"},
        "dataset": {
            "uri": "pvc://data/train.jsonl",
            "classification": "Public",
            "license": "CC-BY-4.0",
            "source": "licence notices",
        },
        "intent": {"taskType": "Format"},
        "method": {"type": "LoRA"},
    }
    return _object("FineTuneJob", name, namespace, spec, changes)


def make_modelrelease(name: str = "release", namespace: str = "team", **changes: Any) -> Json:
    spec: Json = {
        "requestedBy": ENGINEER,
        "jobRef": {"name": "job", "uid": "11111111-2222-3333-4444-555555555555"},
        "modelName": "extractor",
        "intendedUse": "Extract copyright holder and years; nothing else.",
        "risk": "Low",
    }
    return _object("ModelRelease", name, namespace, spec, changes)


def make_approval(name: str = "approval", namespace: str = "team", **changes: Any) -> Json:
    spec: Json = {
        "subjectRef": {"kind": "ModelRelease", "name": "release", "uid": "11111111-2222-3333-4444-555555555555"},
        "subjectDigest": DIGEST,
        "role": "risk",
        "decision": "Approve",
        "reason": "Scores and data were looked at.",
        "approver": {"username": "reviewer-risk", "groups": ["model-risk"]},
        "expirationTime": "2030-01-01T00:00:00Z",
    }
    return _object("Approval", name, namespace, spec, changes)


def make_auditrecord(name: str = "audit-0000000001", **changes: Any) -> Json:
    spec: Json = {
        "sequence": 1,
        "eventId": DIGEST,
        "time": "2026-01-01T00:00:00Z",
        "type": "JobRequested",
        "actor": "engineer",
        "subject": {"kind": "FineTuneJob", "namespace": "team", "name": "job", "uid": "u"},
        "previousHash": DIGEST,
        "hash": DIGEST,
    }
    return _object("AuditRecord", name, "", spec, changes)


def make_usage(name: str = "people", namespace: str = "team", **changes: Any) -> Json:
    spec: Json = {"reached": [{"username": "erin", "bound": "Jobs", "message": "has 50 open jobs"}], "ended": ["u"]}
    return _object("Usage", name, namespace, spec, changes)
