"""What will stop a job or a release that is asked for, as far as this person may read what decides it.

The operator decides, later and by what holds then, so these are warnings.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.cli import job_obstacles
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.job_obstacles import Reader
from tunegate.cli.nearest import did_you_mean
from tunegate.release.evidence import refusal
from tunegate.release.statement import Policy


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way of what is asked for."""

    message: str
    refused: bool = False
    """It is refused for good, as things stand; otherwise it waits."""


def of_job(cluster: Cluster, document: Json, options: Namespace) -> list[Obstacle]:
    """Return what will refuse the job or keep it waiting."""
    try:
        job = FineTuneJob.model_validate(document)
    except ValidationError:
        return []  # the API server took it, and may be newer than this program
    pushed, unchecked = job_obstacles.recorded(job, options)
    seen = job_obstacles.views(cluster, job, pushed=pushed)
    server = seen.of_policies[0].server
    found = [Obstacle(f"pushed data was not checked: {unchecked}")] if unchecked else []
    found += [Obstacle(blocked.message, blocked.final) for blocked in seen.told(cluster)]
    unrouted = job_obstacles.without_routes(server) if server else None
    return [*found, *([Obstacle(unrouted)] if unrouted else [])]


def of_release(cluster: Cluster, document: Json, options: Namespace) -> list[Obstacle]:
    """Return what will refuse the release or keep it waiting."""
    try:
        release = ModelRelease.model_validate({**document, "metadata": {"uid": "", **document["metadata"]}})
    except ValidationError:
        return []
    job = readable(cluster.get, FineTuneJob, release.spec.job_ref.name, release.namespace)
    if job is None:
        return []
    return [*_of_job(job), *_of_catalogue(cluster, release, job), *_of_route(cluster, release)]


def _of_job(job: FineTuneJob) -> Iterator[Obstacle]:
    name, gate = job.name, job.status.gate
    if gate is None and not job.status.ended:
        yield Obstacle(
            f"job {name} has no gate yet (it is {job.status.phase}): the release waits until the job has ended"
        )
    elif gate is None or gate.outcome != "Pass":
        ended = f"its gate is {gate.outcome}" if gate else f"it is {job.status.phase}: {job.status.message}"
        yield Obstacle(f"the release will fail, since job {name} has no passed gate: {ended}", refused=True)


def _of_catalogue(cluster: Cluster, release: ModelRelease, job: FineTuneJob) -> Iterator[Obstacle]:
    """Yield what the policy refuses, and what the statement waits for."""
    reader, namespace, person = Reader(cluster), release.namespace, release.spec.requested_by.username
    server = reader.get(ModelServer, job.spec.server_ref.name, namespace)
    base = reader.get(BaseModel, server.spec.base_model_ref.name) if server else None
    policies: list[ApprovalPolicy] = readable(cluster.all, ApprovalPolicy) or []
    refused = [refusal(Policy(policy.name, policy.uid, policy.spec), job, release, base, None) for policy in policies]
    # Only the operator knows which policy is the namespace's own.
    if refused and refused[0] and all(refused):
        yield Obstacle(refused[0].message, refused=True)
    wanted: list[tuple[type[Resource], str, Resource | None]] = [
        (ModelServer, job.spec.server_ref.name, server),
        (EvaluationSuite, job.spec.suite_ref.name, reader.get(EvaluationSuite, job.spec.suite_ref.name, namespace)),
    ]
    wanted += [(BaseModel, server.spec.base_model_ref.name, base)] if server else []
    if reader.sees_all:
        for model, name, found in wanted:
            if found is None:
                yield Obstacle(f"{model.KIND.kind} {name} of the job does not exist: the release waits for it")
    if base is not None and base.status.phase != "Ready":
        yield Obstacle(f"BaseModel {base.name} is {base.status.phase}: the release waits until it is Ready")
    if (
        server
        and cluster.whoami().get("username") == person
        and not cluster.may("use", "modelservers", server.name, namespace)
    ):
        yield Obstacle(
            f'{person} may not use ModelServer {server.name}: ask its operators for the RBAC verb "use" on modelservers/{server.name}'
        )


def _of_route(cluster: Cluster, release: ModelRelease) -> Iterator[Obstacle]:
    namespace, model = release.namespace, release.spec.model_name
    servers: list[ModelServer] = readable(cluster.all, ModelServer, namespace) or []
    routes = [route.name for server in servers for route in server.spec.routes]
    if servers and model not in routes:
        yield Obstacle(
            f"no ModelServer of namespace {namespace} has a route {model}: ask a serving operator to add it to spec.routes, or "
            f"nothing answers after the approval.{did_you_mean(model, routes)}"
        )
