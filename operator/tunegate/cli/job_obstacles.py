"""What will refuse a job or keep it waiting, as far as this person may read what decides it: for `create job` and `plan`.

The operator decides, later and by what holds then. What this person may not read counts as it has to be. A policy of another
namespace does not count, and only the operator knows which policy is the namespace's own: a policy's refusal is told when every
readable policy has one.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
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
from tunegate.api.pushed import Declaration, Pushed, PushedPlace
from tunegate.api.reasons import JobReason
from tunegate.api.shared import SERVICE_ACCOUNT
from tunegate.api.stage.layout import STORE_REQUIRED
from tunegate.cli import exchange
from tunegate.cli.cluster import Cluster, Json, readable
from tunegate.cli.failure import CommandFailure, Forbidden
from tunegate.cli.nearest import did_you_mean
from tunegate.reconcile.finetunejob.budget import Amount, never_within
from tunegate.reconcile.finetunejob.data_rights import no_spdx, past_retention
from tunegate.reconcile.finetunejob.inputs import in_the_way, missing, needed_claims
from tunegate.reconcile.finetunejob.observed import Observed, StoreSecret
from tunegate.reconcile.finetunejob.pushed import named_pushes
from tunegate.reconcile.finetunejob.refusals import Blocked, refusals
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL

T = TypeVar("T", bound=Resource)
SOME_MIRROR = "https://none.invalid"
"""Whether the site has a Hub mirror is the operator's to say."""
LABELS = {USABLE_BY_JOBS_LABEL: "true"}
OPEN_CLAIM: Json = {
    "metadata": {"labels": LABELS},
    "status": {"phase": "Bound", "accessModes": ["ReadWriteMany"]},
}
"""A claim that is as jobs need it."""


def told(view: Observed, today: date, need: Amount | None = None) -> list[Blocked]:
    """Return everything that refuses the job, or keeps it waiting, in what was read; ``need``: what its training takes."""
    found = [*refusals(view)]
    if ended := past_retention(view.job.spec.dataset, today):
        found.append(Blocked(JobReason.NOT_ALLOWED, ended, final=True))
    if (
        view.pool
        and view.policy
        and view.job.spec.method
        and (never := never_within(view.pool, view.policy, need or Amount()))
    ):
        found.append(never)
    absent = missing(view)
    return [*found, absent] if absent else [*found, *in_the_way(view)]


def as_allowed(
    job: FineTuneJob, server: ModelServer | None, suite: EvaluationSuite | None, claims: Sequence[str]
) -> dict[str, Any]:
    """Return what a person cannot read, as the job needs it to be."""
    opened = StoreSecret(LABELS, frozenset(STORE_REQUIRED))
    return {
        "hub_endpoint": SOME_MIRROR,
        "base_manifest": Manifest(files=[]),
        "engine_images": (server.spec.profile.image,) if server else (),
        "claims": dict.fromkeys(claims, OPEN_CLAIM),
        "store_secret": opened,
        "documents_secret": opened,
        "pushed": {uri: pushed for uri in named_pushes(job, suite) if (pushed := _as_stated(job, uri)) is not None},
        "today": datetime.now(UTC).date().isoformat(),
    }


def _as_stated(job: FineTuneJob, uri: str) -> Pushed | None:
    """Return what was pushed as the job says it; None for an address that is none."""
    try:
        place = PushedPlace.of(uri)
    except ValueError:
        return None
    data = job.spec.dataset
    declaration = Declaration.model_construct(
        classification=data.classification, license=data.license, source=data.source, steward=data.steward,
        expiration_date=data.expiration_date,
    )  # fmt: skip
    return Pushed.model_construct(
        place=place, declaration=None if place.kind == "questions" else declaration, pushed_by=job.spec.requested_by.username, person_id=None, pushed_time="", files=1,
        bytes=0, file=None, withdrawn_by=None, withdrawn_time=None,
    )  # fmt: skip


@dataclass(frozen=True)
class Views:
    """A job as the operator may see it: once for each policy that may be the namespace's own."""

    of_policies: list[Observed]
    sees_all: bool
    """Nothing was forbidden to read, so that what is absent does not exist."""

    def told(self, cluster: Cluster, need: Amount | None = None) -> list[Blocked]:
        """Return what is in the way under the policy that lets the most pass, with the name that was probably meant."""
        found = min((told(view, datetime.now(UTC).date(), need) for view in self.of_policies), key=len)
        if not self.sees_all:
            found = [one for one in found if one.reason not in ABSENT]
        return [_with_nearest(cluster, self.of_policies[0], one) for one in found]


ABSENT = (
    JobReason.WAITING_FOR_POLICY, JobReason.WAITING_FOR_SERVER, JobReason.WAITING_FOR_SUITE, JobReason.WAITING_FOR_POOL,
    JobReason.WAITING_FOR_BASE_MODEL,
)  # fmt: skip
"""Reasons that say that something does not exist."""


def without_routes(server: ModelServer) -> str | None:
    """Return what a release of the server's jobs would lack; None: there is a route for one."""
    if server.spec.routes:
        return None
    return (
        f"ModelServer {server.name} has no route yet: nothing answers after a release is approved. Ask a serving operator to add "
        "one to spec.routes under the model's public name"
    )


def recorded(job: FineTuneJob, options: Namespace) -> tuple[dict[str, Pushed | None], str | None]:
    """Return what the exchange recorded of the pushed data that a job names, or nothing and why it can't be asked."""
    places = [PushedPlace.of(uri) for uri in named_pushes(job) if _as_stated(job, uri) is not None]
    if not places:
        return {}, None
    found: dict[str, Pushed | None] = {}
    try:
        with closing(exchange.Exchange(exchange.address(options))) as asked:
            for place in places:
                known = asked.pushes(place.namespace, place.kind, place.name)
                mine = next((one for one in known if one["uri"] == place.uri), None)
                found[place.uri] = None if mine is None else _read(mine)
    except CommandFailure as error:  # a right or a setting is missing: the operator decides
        return {}, str(error)
    except ValidationError:
        return {}, "the exchange is of another version than this program"
    return found, None


def pushed_by(job: FineTuneJob, options: Namespace) -> str | None:
    """Return who pushed the job's training data, or why that is not known; None: it was not pushed."""
    uri = job.spec.dataset.uri
    if uri not in named_pushes(job):
        return None
    found, unknown = recorded(job, options)
    if unknown is not None or uri not in found:
        return f"not read: {unknown or 'the address is none'}"
    pushed = found[uri]
    if pushed is None:
        return "nobody: nothing was pushed there"
    if pushed.pushed_by.startswith(SERVICE_ACCOUNT):
        return f"{pushed.pushed_by}, an account: it keeps nobody from approving, so ask who used it"
    return f"{pushed.pushed_by} ({pushed.person_id})" if pushed.person_id else pushed.pushed_by


def refused_by_policy(options: Namespace, declared: Declaration) -> list[str]:
    """Return why jobs with data that is declared so are refused, as far as this person may read policies.

    Only the operator knows which policy is the namespace's own, so all that are readable must refuse it.
    """
    try:
        policies: list[ApprovalPolicy] = Cluster.of(options).all(ApprovalPolicy)
    except CommandFailure:  # a pipeline has no kubeconfig, and stewards need not read policies: the operator decides
        return []
    found = [list(_shortfalls(policy, declared)) for policy in policies]
    return min(found, key=len, default=[])


def _shortfalls(policy: ApprovalPolicy, declared: Declaration) -> Iterator[str]:
    spec, refused = policy.spec, "jobs with this data are refused; push again with another declaration"
    if declared.classification not in spec.allowed_data:
        allowed = ", ".join(spec.allowed_data)
        yield f"--classification {declared.classification}: ApprovalPolicy {policy.name} allows {allowed} only, so {refused}"
    if "SpdxLicense" in spec.required_rights and (wrong := no_spdx(declared.license)):
        yield (
            f"--license {declared.license!r}: ApprovalPolicy {policy.name} asks for an SPDX expression ({wrong}), so {refused}, such as "
            "CC-BY-4.0 or LicenseRef-contract-17"
        )
    if "Retention" in spec.required_rights and declared.expiration_date is None:
        yield f"ApprovalPolicy {policy.name} asks how long the data may be kept, so {refused}: --expires"


def _read(record: Json) -> Pushed:
    return Pushed.model_validate({name: value for name, value in record.items() if name != "uri"})


def views(
    cluster: Cluster,
    job: FineTuneJob,
    policies: Sequence[ApprovalPolicy] | None = None,
    pushed: Mapping[str, Pushed | None] | None = None,
) -> Views:
    """Read what decides about a job.

    ``policies``: those that may be the namespace's own, None: all that are readable; ``pushed``: what was recorded of pushed
    data, None: it counts as the job states it.
    """
    reader = Reader(cluster)
    spec, namespace = job.spec, job.namespace
    server = reader.get(ModelServer, spec.server_ref.name, namespace)
    server_pool = reader.get(ComputePool, server.spec.pool_ref.name) if server else None
    facts: dict[str, Any] = {
        "job": job,
        "server": server,
        "suite": reader.get(EvaluationSuite, spec.suite_ref.name, namespace),
        "base_model": reader.get(BaseModel, server.spec.base_model_ref.name) if server else None,
        "server_pool": server_pool,
        "pool": reader.get(ComputePool, spec.pool_ref.name) if spec.pool_ref else server_pool,
    }
    claims = needed_claims(Observed(**facts))
    facts |= as_allowed(job, server, facts["suite"], claims)
    facts["claims"] = {name: found for name in claims if (found := _claim(cluster, name, namespace)) is not None}
    facts["pushed"] |= pushed or {}
    facts["denied"] = tuple(_denied(cluster, job, server)) if server else ()
    possible = policies if policies is not None else readable(cluster.all, ApprovalPolicy)
    seen = [Observed(**facts, policy=policy) for policy in possible or ()]
    return Views(seen or [Observed(**facts)], reader.sees_all and bool(possible))


def _claim(cluster: Cluster, name: str, namespace: str) -> Json | None:
    """Return a claim; one that this person may not read counts as open."""
    try:
        return cluster.read(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
    except Forbidden:
        return OPEN_CLAIM


def _denied(cluster: Cluster, job: FineTuneJob, server: ModelServer) -> Iterator[str]:
    """Yield what the requester may not use; where that is another person, nothing is known."""
    if cluster.whoami().get("username") != job.spec.requested_by.username:
        return
    pool = (job.spec.pool_ref or server.spec.pool_ref).name
    for resource, name, namespace in (("computepools", pool, ""), ("modelservers", server.name, job.namespace)):
        if not cluster.may("use", resource, name, namespace):
            yield f"{resource}/{name}"


def _with_nearest(cluster: Cluster, view: Observed, blocked: Blocked) -> Blocked:
    """Return the obstacle with the name that was probably meant by one that does not exist."""
    spec, namespace = view.job.spec, view.job.namespace
    pool = spec.pool_ref or (view.server and view.server.spec.pool_ref)
    named: dict[str, tuple[type[Resource], str, str]] = {
        JobReason.WAITING_FOR_SERVER: (ModelServer, spec.server_ref.name, namespace),
        JobReason.WAITING_FOR_SUITE: (EvaluationSuite, spec.suite_ref.name, namespace),
        JobReason.WAITING_FOR_POOL: (ComputePool, pool.name if pool else "", ""),
    }
    if blocked.reason not in named:
        return blocked
    model, name, where = named[blocked.reason]
    there: list[Resource] = readable(cluster.all, model, where) or []
    return replace(blocked, message=blocked.message + did_you_mean(name, [one.name for one in there]))


class Reader:
    """Reads objects, and remembers whether one could not be read: then nothing can be called missing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.sees_all = True

    def get(self, model: type[T], name: str, namespace: str = "") -> T | None:
        """Return the object, or None."""
        try:
            return self._cluster.get(model, name, namespace)
        except Forbidden:
            self.sees_all = False
            return None
