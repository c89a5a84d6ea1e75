"""What will stop a job or a release that is asked for, as far as this person may read what decides it.

The operator decides, later and by what holds then, so these are warnings. A policy of another namespace does not count, and
only the operator knows which policy is the namespace's own: a policy's refusal is told when every readable policy has one.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.manifest import Manifest
from tunegate.api.markers import Resource
from tunegate.api.modelserver import ModelServer
from tunegate.api.reasons import JobReason
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.failure import Forbidden
from tunegate.cli.nearest import did_you_mean
from tunegate.reconcile.finetunejob.inputs import missing
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.refusals import refusals
from tunegate.release.suites import not_accepted

T = TypeVar("T", bound=Resource)
SOME_MIRROR = "https://none.invalid"
"""Whether the site has a Hub mirror is the operator's to say."""


def of_job(cluster: Cluster, document: Json) -> list[str]:
    """Return what will refuse the job or keep it waiting."""
    try:
        job = FineTuneJob.model_validate(document)
    except ValidationError:
        return []  # the API server took it, and may be newer than this program
    reader = _Reader(cluster)
    server = reader.get(ModelServer, job.spec.server_ref.name, job.namespace)
    server_pool = reader.get(ComputePool, server.spec.pool_ref.name) if server else None
    facts: dict[str, Any] = {
        "job": job,
        "server": server,
        "suite": reader.get(EvaluationSuite, job.spec.suite_ref.name, job.namespace),
        "base_model": reader.get(BaseModel, server.spec.base_model_ref.name) if server else None,
        "base_manifest": Manifest(files=[]),
        "server_pool": server_pool,
        "pool": reader.get(ComputePool, job.spec.pool_ref.name) if job.spec.pool_ref else server_pool,
        "hub_endpoint": SOME_MIRROR,
    }
    policies: list[ApprovalPolicy] = readable(cluster.all, ApprovalPolicy) or []
    views = [Observed(**facts, policy=policy) for policy in policies] or [Observed(**facts)]
    found = min(([blocked.message for blocked in refusals(view)] for view in views), key=len)
    absent = missing(views[0]) if policies and reader.sees_all else None
    return [*found, *([absent.message + _did_you_mean(cluster, absent.reason, views[0])] if absent else [])]


def _did_you_mean(cluster: Cluster, reason: str, view: Observed) -> str:
    """Return the name that was probably meant by one that does not exist."""
    spec, namespace = view.job.spec, view.job.namespace
    pool = spec.pool_ref or (view.server and view.server.spec.pool_ref)
    named: dict[str, tuple[type[Resource], str, str]] = {
        JobReason.WAITING_FOR_SERVER: (ModelServer, spec.server_ref.name, namespace),
        JobReason.WAITING_FOR_SUITE: (EvaluationSuite, spec.suite_ref.name, namespace),
        JobReason.WAITING_FOR_POOL: (ComputePool, pool.name if pool else "", ""),
    }
    if reason not in named:
        return ""
    model, name, where = named[reason]
    there: list[Resource] = readable(cluster.all, model, where) or []
    return did_you_mean(name, [one.name for one in there])


def of_release(cluster: Cluster, document: Json) -> list[str]:
    """Return what will refuse the release."""
    reference, namespace = document["spec"].get("jobRef") or {}, str(document["metadata"]["namespace"])
    name = str(reference.get("name", ""))
    job = readable(cluster.get, FineTuneJob, name, namespace) if name else None
    if job is None:
        return []
    found = []
    gate = job.status.gate
    if gate is None and not job.status.ended:
        found.append(
            f"job {name} has no gate yet (it is {job.status.phase}): the release waits until the job has ended"
        )
    elif gate is None or gate.outcome != "Pass":
        ended = f"its gate is {gate.outcome}" if gate else f"it is {job.status.phase}: {job.status.message}"
        found.append(f"the release will fail, since job {name} has no passed gate: {ended}")
    policies: list[ApprovalPolicy] = readable(cluster.all, ApprovalPolicy) or []
    refused = [not_accepted(policy.name, policy.spec, job.spec.suite_ref.name) for policy in policies]
    if refused and refused[0] and all(refused):
        found.append(refused[0])
    servers: list[ModelServer] = readable(cluster.all, ModelServer, namespace) or []
    model = str(document["spec"].get("modelName", ""))
    routes = [route.name for server in servers for route in server.spec.routes]
    if servers and model not in routes:
        found.append(
            f"no ModelServer of namespace {namespace} has a route {model}: ask a serving operator to add it to spec.routes, or "
            f"nothing answers after the approval.{did_you_mean(model, routes)}"
        )
    return found


class _Reader:
    """Reads objects, and remembers whether one could not be read: then nothing can be called missing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.sees_all = True

    def get(self, model: type[T], name: str, namespace: str = "") -> T | None:
        try:
            return self._cluster.get(model, name, namespace)
        except Forbidden:
            self.sees_all = False
            return None
