"""Everything that is known of one release, as plain data: what is asked, what it rests on, who decided, what runs.

A part that the person may not read, or that is gone, says so: it is never left out silently.
"""

from __future__ import annotations

import json
from typing import Any

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecord
from tunegate.api.basemodel import BaseModel
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.stage.results import ValidateResult
from tunegate.cli import addresses, decisions, results
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.describe.changes import Side, changes
from tunegate.cli.failure import CommandFailure
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import RegistryError, Unauthorized

NO_JOB = "the job is gone or not readable: its statement in the registry still says it"


def collect(cluster: Cluster, release: ModelRelease, client: RegistryClient | None = None) -> Json:
    """Return the whole story of a release; with a registry's ``client`` also what only the registry holds, verified."""
    namespace, status = release.namespace, release.status
    job = job_of(cluster, release)
    server = readable(cluster.get, ModelServer, status.server_ref.name, namespace) if status.server_ref else None
    base = readable(cluster.get, BaseModel, server.spec.base_model_ref.name) if server is not None else None
    suite = readable(cluster.get, EvaluationSuite, job.spec.suite_ref.name, namespace) if job is not None else None
    ledger = recorded(cluster)
    records = ledger or []
    mine = [one for one in records if one["subject"] == release.uid]
    statement = _statement(client, release, mine) if client is not None else None
    new = Side(release, job, suite, _policy(mine) or _stated(statement), _rules(statement))
    document: Json = {
        "release": _release(release, job),
        "data": _data(cluster, job),
        "waiver": _waiver(job),
        "training": _training(job),
        "baseModel": _base(base, job),
        "adapter": job.status.adapter.to_dict() if job is not None and job.status.adapter else _gone(release),
        "evaluation": _evaluation(job, suite),
        "quorum": _quorum(cluster, release),
        "override": status.override.to_dict() if status.override is not None else None,
        "approvals": _approvals(cluster, release),
        "running": _running(server, release),
        "servingNow": _serving_now(cluster, release, new, records, client),
        "ledger": [{key: value for key, value in one.items() if key != "subject"} for one in mine]
        if ledger is not None else {"note": "you may not read the ledger; auditors may"},
    }  # fmt: skip
    if client is not None:
        document["findings"] = _findings(client, job)
        document["statement"] = statement
    return document


def job_of(cluster: Cluster, release: ModelRelease) -> FineTuneJob | None:
    """Return the job of a release, unless it is gone, not readable, or another one has its name."""
    job: FineTuneJob | None = readable(cluster.get, FineTuneJob, release.spec.job_ref.name, release.namespace)
    return job if job is not None and job.uid == release.spec.job_ref.uid else None


def recorded(cluster: Cluster) -> list[Json] | None:
    """Return the ledger's entries in order, with the uid of their subject; None where the person may not read it."""
    found: list[AuditRecord] | None = readable(cluster.all, AuditRecord)
    return None if found is None else [
        {
            "sequence": one.spec.sequence, "time": one.spec.time, "type": one.spec.type, "actor": one.spec.actor,
            "hash": one.spec.hash, "payload": dict(one.spec.payload), "subject": one.spec.subject.uid,
        }
        for one in sorted(found, key=lambda one: one.spec.sequence)
    ]  # fmt: skip


def _release(release: ModelRelease, job: FineTuneJob | None) -> Json:
    spec, status = release.spec, release.status
    return {
        "name": f"{release.namespace}/{release.name}", "uid": release.uid, "phase": status.phase,
        "digest": status.release_digest, "modelName": spec.model_name, "intendedUse": spec.intended_use,
        "risk": spec.risk, "requestedBy": spec.requested_by.username, "message": status.message,
        "created": release.metadata.get("creationTimestamp"), "servedName": status.served_name,
        "conditions": {one.type: f"{one.status} ({one.reason})" for one in status.conditions},
        "job": spec.job_ref.name, "jobRequestedBy": job.spec.requested_by.username if job else None,
        "contributors": (", ".join(one.username for one in job.spec.contributors) or "none are named") if job else None,
    }  # fmt: skip


def _data(cluster: Cluster, job: FineTuneJob | None) -> Json:
    if job is None:
        return {"note": NO_JOB}
    dataset, found = job.spec.dataset, job.status.dataset
    return {
        "digest": found.digest if found else None, "redactedDigest": found.redacted_digest if found else None,
        "statementDigest": found.statement_digest if found else None, "rows": found.rows if found else None,
        "duplicates": found.duplicates if found else None, "overlapRows": found.overlap_rows if found else None,
        "classification": dataset.classification, "license": dataset.license, "source": dataset.source,
        "steward": dataset.steward or None, "expirationDate": dataset.expiration_date, "uri": dataset.uri, "job": job.name,
        "jobRequestedBy": job.spec.requested_by.username, "mlflowRun": job.status.mlflow_run_id,
        "mlflowPage": addresses.mlflow_run(cluster, job.namespace, job.status.mlflow_run_id),
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


def _training(job: FineTuneJob | None) -> Json:
    if job is None:
        return {"note": NO_JOB}
    status = job.status
    made: Json = {"source": job.spec.source, "taskType": job.spec.intent.task_type}
    made |= job.spec.method.to_dict() if job.spec.method is not None else {}
    return made | {"deviceHours": status.device_hours, "cost": status.cost}


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


def _evaluation(job: FineTuneJob | None, suite: EvaluationSuite | None) -> Json:
    if job is None or job.status.gate is None:
        return {"note": "not readable here"}
    gate = job.status.gate
    return {
        "outcome": gate.outcome, "suite": job.spec.suite_ref.name, "suiteDigest": job.status.suite_digest,
        "documentsDigest": job.status.documents_digest,
        "metric": gate.metric, "tuned": gate.tuned, "questions": gate.questions,
        "suiteMargin": suite.spec.primary_metric.margin if suite else None,
        "suiteMinimum": suite.spec.primary_metric.minimum if suite else None,
        "suiteTries": _tries(job, suite),
        "askedAs": {"temperature": 0, **gate.asked_as.to_dict()} if gate.asked_as else None,
        "alternatives": [arm.model_dump(by_alias=True, exclude={"metrics"}) for arm in gate.arms],
        "guardrails": [one.to_dict() for one in gate.guardrails],
        "resultDigest": job.status.stage("Evaluate").result_digest,
    }  # fmt: skip


def _tries(job: FineTuneJob, suite: EvaluationSuite | None) -> str | None:
    """Return the tries on the questions that the job was judged by: as the suite has them now, while it is still the same."""
    same = suite is not None and suite.spec.data.digest == job.status.suite_data_digest
    tries = suite.status.tries if suite is not None and same else job.status.suite_tries
    return tries.told() if tries is not None else None


def _quorum(cluster: Cluster, release: ModelRelease) -> Json:
    """Return how many approvals count, and which groups may give those that are missing."""
    policies: list[ApprovalPolicy] = readable(cluster.all, ApprovalPolicy) or []
    roles = (role for policy in policies for role in policy.spec.roles)
    final = release.status.phase in decisions.FINAL
    return {"counted": release.status.approvals, "missing": decisions.missing(release.status, roles, final=final)}


def _approvals(cluster: Cluster, release: ModelRelease) -> list[Json]:
    status = release.status
    overrides = status.override.counted if status.override is not None else ()
    stopped = status.phase in ("Denied", "Revoked")
    return decisions.collect(cluster, release, status, stopped=stopped, overrides=overrides)


def _running(server: ModelServer | None, release: ModelRelease) -> Json:
    served = release.status.served_name
    if server is None:
        return {"note": "no server is known or readable"}
    adapter = next((one for one in server.status.adapters if one.served_name == served), None)
    routes = [one.name for one in server.status.routes if served in one.served_names and one.state == "Open"]
    return {
        "server": server.name, "phase": server.status.phase, "endpoint": server.status.endpoint, "servedName": served,
        "adapter": adapter.to_dict() if adapter else None, "answersAs": routes,
    }  # fmt: skip


def _serving_now(
    cluster: Cluster, release: ModelRelease, new: Side, records: list[Json], client: RegistryClient | None
) -> Json:
    """Return which release answers now under the name that is asked for, and what this one would change."""
    servers: list[ModelServer] | None = readable(cluster.all, ModelServer, release.namespace)
    if servers is None:
        return {"note": "you may not read the servers of this namespace"}
    name = release.spec.model_name
    served = {
        name_of_target
        for server in servers
        for route in server.status.routes
        if route.name == name and route.state == "Open"
        for name_of_target in route.served_names
    }
    if not served:
        return {"note": f"nothing answers as {name} now"}
    known: list[ModelRelease] = readable(cluster.all, ModelRelease, release.namespace) or []
    found = next((one for one in known if one.status.served_name in served), None)
    if found is None:
        return {"servedName": ", ".join(sorted(served)), "note": "its release is gone or not readable"}
    if found.uid == release.uid:
        return {"release": found.name, "servedName": found.status.served_name, "note": "this release itself"}
    job = job_of(cluster, found)
    suite = (
        readable(cluster.get, EvaluationSuite, job.spec.suite_ref.name, found.namespace) if job is not None else None
    )
    told = [one for one in records if one["subject"] == found.uid]
    statement = _readable_statement(client, found, told)
    old = Side(found, job, suite, _policy(told) or _stated(statement), _rules(statement))
    return {
        "release": found.name, "servedName": found.status.served_name,
        "changes": [one.to_dict() for one in changes(old, new)],
    }  # fmt: skip


def _policy(records: list[Json]) -> str | None:
    """Return name and digest of the policy that a release froze, as the ledger has it."""
    return next((one["payload"].get("policy") for one in records if one["type"] == "ReleaseRequested"), None)


def _stated(statement: Json | None) -> str | None:
    """Return name and digest of the policy that a release froze, as its statement has it."""
    if statement is None:
        return None
    policy = statement["content"]["policy"]
    return f"{policy['name']} {policy['digest']}"


def _rules(statement: Json | None) -> Json | None:
    return None if statement is None else statement["content"]["policy"]["spec"]


def _readable_statement(client: RegistryClient | None, release: ModelRelease, records: list[Json]) -> Json | None:
    """Return the statement of another release, or None: that it is gone or closed is not what the page is about."""
    if client is None:
        return None
    try:
        return _statement(client, release, records)
    except (RegistryError, CommandFailure):
        return None


def _findings(client: RegistryClient, job: FineTuneJob | None) -> Any:
    if job is None:
        return {"note": NO_JOB}
    if job.status.stage("Validate").result_digest is None:
        return {"note": "the job has no result of its validation"}
    try:
        _, result = results.pull_result(client, job, "Validate", ValidateResult)
    except Unauthorized as error:  # A token may open the statement only.
        return {"note": f"not read: {error}"}
    return [one.to_dict() for one in result.findings]


def _statement(client: RegistryClient, release: ModelRelease, records: list[Json]) -> Json:
    """Read the statement from the registry and hash it: it must be the digest that people approved."""
    named = next((one["payload"]["repository"] for one in records if one["type"] == "ReleaseRequested"), None)
    return {"verified": True, "content": json.loads(results.pull_statement(client, release, named))}
