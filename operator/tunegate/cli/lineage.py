"""`lineage`: what data, what base version, which evaluation, who approved, what runs now; from records alone."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from rich.console import Console

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecord
from tunegate.api.basemodel import BaseModel
from tunegate.api.finetunejob import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.cli import registry, results
from tunegate.cli.cluster import Cluster, Json, readable


def lineage(cluster: Cluster, options: Namespace) -> int:
    """Print the lineage of a release: for people, or with ``-o json`` for programs."""
    namespace = options.namespace or cluster.namespace
    release = cluster.need(ModelRelease, options.name, namespace)
    document = collect(cluster, release, options)
    if options.output == "json":
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    for title, part in document.items():
        console.print(f"[bold]{title}[/]")
        for line in _lines(part):
            console.print(f"  {line}", markup=False)
    return 0


def collect(cluster: Cluster, release: ModelRelease, options: Namespace) -> Json:
    """Return the whole story as plain data. A part that the person may not read, or that is gone, says so."""
    namespace, status = release.namespace, release.status
    job = readable(cluster.get, FineTuneJob, release.spec.job_ref.name, namespace)
    if job is not None and job.uid != release.spec.job_ref.uid:
        job = None
    server = readable(cluster.get, ModelServer, status.server, namespace) if status.server else None
    base = readable(cluster.get, BaseModel, server.spec.base_model_ref) if server is not None else None
    records = _records(cluster, release)
    document: Json = {
        "release": {
            "name": f"{namespace}/{release.name}", "uid": release.uid, "phase": status.phase,
            "digest": status.release_digest, "modelName": release.spec.model_name,
            "intendedUse": release.spec.intended_use, "risk": release.spec.risk,
            "requestedBy": release.spec.requested_by.username, "message": status.message,
        },
        "data": _data(job),
        "waiver": _waiver(job),
        "baseModel": _base(base, job),
        "adapter": job.status.adapter.to_dict() if job is not None and job.status.adapter else _gone(release),
        "evaluation": _evaluation(job),
        "approvals": _approvals(cluster, release),
        "running": _running(server, release),
        "ledger": records,
    }  # fmt: skip
    if options.registry:
        document["statement"] = _statement(release, records, options)
    return document


def _data(job: FineTuneJob | None) -> Json:
    if job is None:
        return {"note": "the job is gone or not readable: its statement in the registry (--registry) still says it"}
    dataset, found = job.spec.dataset, job.status.dataset
    return {
        "digest": found.digest if found else None, "redactedDigest": found.redacted_digest if found else None,
        "statementDigest": found.statement_digest if found else None, "rows": found.rows if found else None,
        "classification": dataset.classification, "license": dataset.license, "source": dataset.source,
        "steward": dataset.steward or None, "retainUntil": dataset.retain_until, "uri": dataset.uri, "job": job.name,
        "jobRequestedBy": job.spec.requested_by.username, "mlflowRun": job.status.mlflow_run_id,
    }  # fmt: skip


def _waiver(job: FineTuneJob | None) -> Json:
    """Return what validation found and people answered for."""
    waiver = job.status.waiver if job else None
    if job is None or waiver is None:
        return {"note": "the job is gone or not readable" if job is None else "none was needed: validation passed"}
    return {
        "digest": waiver.digest, "granted": waiver.granted_time,
        "findings": {one.check: one.message for one in waiver.findings},
        "approvedBy": [f"{one.username} ({one.role}, {one.name})" for one in waiver.counted],
    }  # fmt: skip


def _base(base: BaseModel | None, job: FineTuneJob | None) -> Json:
    return {
        "name": base.name if base else None,
        "manifestDigest": job.status.base_model_digest if job else base.status.manifest_digest if base else None,
        "license": base.spec.license if base else None,
        "publisher": base.spec.publisher if base else None,
        "engineProfileDigest": job.status.profile_digest if job else None,
    }


def _gone(release: ModelRelease) -> Json:
    return {"servedName": release.status.served_name}


def _evaluation(job: FineTuneJob | None) -> Json:
    if job is None or job.status.gate is None:
        return {"note": "not readable here"}
    gate = job.status.gate
    return {
        "outcome": gate.outcome, "suite": job.spec.suite_ref, "suiteDigest": job.status.suite_digest,
        "documentsDigest": job.status.documents_digest,
        "metric": gate.metric, "tuned": gate.tuned, "questions": gate.questions,
        "alternatives": {arm.name: arm.score for arm in gate.arms},
        "resultDigest": next((one.result_digest for one in job.status.stages if one.name == "evaluate"), None),
    }  # fmt: skip


def _approvals(cluster: Cluster, release: ModelRelease) -> list[Json]:
    told: dict[str, str] = {one.name: one.reason for one in release.status.dropped}
    told |= {one.name: "yes" for one in release.status.counted}
    if release.status.override is not None:
        told |= {one.name: "as an override" for one in release.status.override.counted}
    found: list[Approval] = readable(cluster.all, Approval, release.namespace) or []
    return [
        {
            "name": one.name, "decision": one.spec.decision, "role": one.spec.role, "by": one.spec.approver.username,
            "time": one.metadata.get("creationTimestamp"), "expires": one.spec.expires_at, "reason": one.spec.reason,
            "digest": one.spec.subject_digest, "personId": one.spec.approver.person_id,
            "authTime": one.spec.approver.auth_time,
            "counted": told.get(one.name, "not an approval"),
        }
        for one in sorted(found, key=lambda one: str(one.metadata.get("creationTimestamp")))
        if one.spec.subject_ref.uid == release.uid
    ]  # fmt: skip


def _running(server: ModelServer | None, release: ModelRelease) -> Json:
    served = release.status.served_name
    if server is None:
        return {"note": "no server is known or readable"}
    adapter = next((one for one in server.status.adapters if one.served_name == served), None)
    routes = [one.name for one in server.status.routes if one.served_name == served and one.state == "Open"]
    return {
        "server": server.name, "phase": server.status.phase, "endpoint": server.status.endpoint, "servedName": served,
        "adapter": adapter.to_dict() if adapter else None, "answersAs": routes,
    }  # fmt: skip


def _records(cluster: Cluster, release: ModelRelease) -> list[Json]:
    """Return the ledger's entries about the release; empty where the person may not read the ledger."""
    found: list[AuditRecord] = readable(cluster.all, AuditRecord) or []
    return [
        {
            "sequence": one.spec.sequence, "time": one.spec.time, "type": one.spec.type, "actor": one.spec.actor,
            "hash": one.spec.hash, "payload": dict(one.spec.payload),
        }
        for one in sorted(found, key=lambda one: one.spec.sequence)
        if one.spec.subject.uid == release.uid
    ]  # fmt: skip


def _statement(release: ModelRelease, records: list[Json], options: Namespace) -> Json:
    """Read the statement from the registry and hash it: it must be the digest that people approved."""
    named = next((one["payload"]["repository"] for one in records if one["type"] == "ReleaseRequested"), None)
    with registry.opened(options) as client:
        content = results.pull_statement(client, release, named)
    return {"verified": True, "content": json.loads(content)}


def _lines(part: Any) -> list[str]:
    """Return a part of the document as lines for people."""
    if isinstance(part, list):
        return [", ".join(f"{key} {_text(value)}" for key, value in one.items()) for one in part] or ["(none)"]
    if isinstance(part, dict) and "content" in part:
        return ["verified: the stored statement has the approved digest; -o json shows it whole"]
    return [f"{key:20} {_text(value)}" for key, value in part.items()]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value) or "-"
    return "-" if value is None else str(value)
