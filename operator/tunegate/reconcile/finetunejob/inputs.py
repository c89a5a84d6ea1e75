"""What a job needs before an attempt may start: a chain of checks, each with one reason of the closed list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.spec import FineTuneJobSpec
from tunegate.api.finetunejob.status import PoolTerms
from tunegate.api.manifest import Manifest
from tunegate.api.modelserver import ModelServer
from tunegate.api.reasons import JobReason
from tunegate.api.stage.layout import STORE_REQUIRED
from tunegate.digests import document_digest
from tunegate.manifests.sources import ClaimPath, HubPath, RegistryPath, StorePath, claim_path, model_path
from tunegate.reconcile.engines import not_listed
from tunegate.reconcile.finetunejob.addresses import base_source, read_address, sources
from tunegate.reconcile.finetunejob.observed import Observed, StoreSecret
from tunegate.reconcile.finetunejob.pushed import located, unusable
from tunegate.reconcile.finetunejob.refusals import Blocked, refusals
from tunegate.reconcile.finetunejob.suites import FurtherSuites, further_suites
from tunegate.reconcile.hub_mirror import without_mirror
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL


@dataclass(frozen=True)
class Inputs:
    """Everything that the stages are configured from, all present and allowed."""

    server: ModelServer
    base_model: BaseModel
    base_manifest: Manifest
    base_digest: str
    suite: EvaluationSuite
    further: FurtherSuites
    pool: ComputePool
    server_pool: ComputePool
    policy: ApprovalPolicy
    dataset: ClaimPath | StorePath | RegistryPath
    questions: ClaimPath | RegistryPath
    base: ClaimPath | HubPath
    imported: ClaimPath | None
    documents: ClaimPath | StorePath | RegistryPath | None

    @property
    def profile_digest(self) -> str:
        """Digest of the engine profile: SHA-256 of the RFC 8785 JSON with defaults included."""
        return document_digest(self.server.spec.profile.to_dict())

    @property
    def suite_digest(self) -> str:
        """Digest of the suite's spec, in the same form."""
        return document_digest(self.suite.spec.to_dict())

    @property
    def pool_terms(self) -> PoolTerms:
        """What an attempt that is made now costs."""
        spec = self.pool.spec
        return PoolTerms(name=self.pool.name, price_per_device_hour=spec.price_per_device_hour, currency=spec.currency)


def needed_claims(seen: Observed) -> list[str]:
    """Return the names of the claims that the job's inputs lie on, as far as they are known."""
    names = (_claim_of(uri) for uri, _ in [*sources(seen), *base_source(seen)])
    return list(dict.fromkeys(name for name in names if name is not None))


def _claim_of(uri: str) -> str | None:
    """Return the claim that an address names; None: it names none, or is refused for another reason."""
    try:
        path = read_address(uri)
    except ValueError:
        return None
    return path.claim if isinstance(path, ClaimPath) else None


def resolve(seen: Observed) -> Inputs | Blocked:
    """Return the inputs, or the first thing that is in the way."""
    # What is refused for good waits for nothing first.
    blocked = next((one for one in (*refusals(seen), *unusable(seen)) if one.final), None) or missing(seen)
    if blocked is not None:
        return blocked
    server, base_model, suite, policy = seen.server, seen.base_model, seen.suite, seen.policy
    pool, server_pool, manifest = seen.pool, seen.server_pool, seen.base_manifest
    if not (server and base_model and suite and policy and pool and server_pool and manifest):
        raise AssertionError("`missing` reports every absent object")
    blocked = next(in_the_way(seen), None)
    if blocked is not None:
        return blocked
    spec = seen.job.spec
    inputs = Inputs(
        server=server,
        base_model=base_model,
        base_manifest=manifest,
        base_digest=str(base_model.status.manifest_digest),
        suite=suite,
        further=further_suites(seen, policy, needed_claims(seen)),
        pool=pool,
        server_pool=server_pool,
        policy=policy,
        dataset=located(seen, spec.dataset.uri),
        questions=_questions(seen, suite),
        base=model_path(base_model.spec.source),
        imported=claim_path(spec.adapter.uri) if spec.adapter else None,
        documents=located(seen, spec.baseline.documents.uri) if spec.baseline.documents else None,
    )
    return _changed(seen, inputs) or inputs


def _questions(seen: Observed, suite: EvaluationSuite) -> ClaimPath | RegistryPath:
    """Return where the job's questions lie, once `refusals` let the address pass."""
    path = located(seen, suite.spec.data.uri)
    if isinstance(path, StorePath):
        raise AssertionError("the API admits no suite in a store")
    return path


def in_the_way(seen: Observed) -> Iterator[Blocked]:
    """Yield why the job may not start now, though nothing that it names is absent."""
    for check in (_image, _volumes, _store, unusable, _device, _rights):
        yield from check(seen)


def missing(seen: Observed) -> Blocked | None:
    """Return the first object that is absent or not ready; None: all are there."""
    spec, namespace = seen.job.spec, seen.job.namespace
    if seen.policy is None:
        return Blocked(
            JobReason.WAITING_FOR_POLICY,
            f"Namespace {namespace} has no ApprovalPolicy that exists. The platform team lists governed namespaces and "
            "their policies in the chart's values.",
        )
    if seen.server is None:
        return Blocked(
            JobReason.WAITING_FOR_SERVER,
            f"ModelServer {spec.server_ref.name} does not exist in namespace {namespace}. "
            "See `kubectl get modelservers`, or ask the platform team for one.",
        )
    if seen.suite is None:
        return Blocked(
            JobReason.WAITING_FOR_SUITE,
            f"EvaluationSuite {spec.suite_ref.name} does not exist in namespace {namespace}. Create it, or name another in "
            "a new job.",
        )
    server = seen.server.spec
    for name, found in (((spec.pool_ref or server.pool_ref).name, seen.pool), (server.pool_ref.name, seen.server_pool)):
        if found is None:
            return Blocked(
                JobReason.WAITING_FOR_POOL, f"ComputePool {name} does not exist. See `kubectl get computepools`."
            )
    return _base_model(seen, server.base_model_ref.name)


def _base_model(seen: Observed, name: str) -> Blocked | None:
    base_model = seen.base_model
    if base_model is None:
        return Blocked(
            JobReason.WAITING_FOR_BASE_MODEL,
            f"BaseModel {name} is not in the catalogue. See `kubectl get basemodels`.",
        )
    status = base_model.status
    if status.phase != "Ready" or not status.manifest_digest or not status.result_digest:
        why = f": {status.failure or status.message}" if status.failure or status.message else ""
        return Blocked(JobReason.WAITING_FOR_BASE_MODEL, f"BaseModel {name} is {status.phase}{why}")
    if seen.base_manifest is None:
        return Blocked(
            JobReason.WAITING_FOR_BASE_MODEL,
            f"The file manifest of BaseModel {name} can't be read from the registry ({status.result_digest}). "
            "It is tried again; see whether the registry runs.",
        )
    missing = without_mirror(base_model, seen.hub_endpoint)
    return None if missing is None else Blocked(JobReason.WAITING_FOR_BASE_MODEL, missing)


def _image(seen: Observed) -> Iterator[Blocked]:
    """The engine's answers decide baseline and gate, so it is one of the platform's."""
    if seen.server and (wrong := not_listed(seen.server.name, seen.server.spec.profile.image, seen.engine_images)):
        yield Blocked(JobReason.IMAGE_NOT_ALLOWED, f"{wrong[0].upper()}{wrong[1:]}.")


def _volumes(seen: Observed) -> Iterator[Blocked]:
    named = sources(seen)
    for uri, where in [*named, *base_source(seen)]:
        claim = _claim_of(uri)
        if claim is None:
            continue
        found = seen.claims.get(claim)
        if found is None:
            yield Blocked(
                JobReason.WAITING_FOR_VOLUME,
                f"{where} names the PersistentVolumeClaim {claim}, which does not exist in namespace "
                f"{seen.job.namespace}. Create it there.",
            )
        elif (uri, where) in named and _labels(found).get(USABLE_BY_JOBS_LABEL) != "true":
            yield Blocked(
                JobReason.WAITING_FOR_VOLUME,
                f"{where} names the PersistentVolumeClaim {claim}, which is not open for jobs. Whoever may change claims "
                f"there runs: kubectl label pvc -n {seen.job.namespace} {claim} {USABLE_BY_JOBS_LABEL}=true. Data that a steward "
                "pushes (tunegate data push) needs no claim.",
            )


def _store(seen: Observed) -> Iterator[Blocked]:
    spec, namespace = seen.job.spec, seen.job.namespace
    yield from _opened(spec.dataset.secret_name, "spec.dataset.secretName", seen.store_secret, namespace)
    if spec.baseline.documents:
        named = spec.baseline.documents.secret_name
        yield from _opened(named, "spec.baseline.documents.secretName", seen.documents_secret, namespace)


def _opened(name: str | None, where: str, secret: StoreSecret | None, namespace: str) -> Iterator[Blocked]:
    """Check the Secret that opens a store; without a name no store is read."""
    if name is None:
        return
    reason = JobReason.WAITING_FOR_SECRET
    if secret is None:
        yield Blocked(
            reason,
            f"{where} names the Secret {name}, which does not exist in namespace {namespace}. "
            f"Create it there with the keys {', '.join(STORE_REQUIRED)}.",
        )
    elif secret.labels.get(USABLE_BY_JOBS_LABEL) != "true":
        yield Blocked(
            reason,
            f"{where} names the Secret {name}, which is not open for jobs. Whoever may change Secrets "
            f"there runs: kubectl label secret -n {namespace} {name} {USABLE_BY_JOBS_LABEL}=true",
        )
    elif missing := [key for key in STORE_REQUIRED if key not in secret.keys]:
        yield Blocked(reason, f"Secret {name} ({where}) lacks {', '.join(missing)}. Add what is missing.")


def _device(seen: Observed) -> Iterator[Blocked]:
    server = seen.server
    if (
        server
        and seen.server_pool
        and server.spec.profile.device == "CUDA"
        and not seen.server_pool.spec.device_resource
    ):
        yield Blocked(
            JobReason.WAITING_FOR_DEVICE,
            f"ModelServer {server.name} has a CUDA profile, but its ComputePool {seen.server_pool.name} names no "
            "deviceResource. The platform team sets it, e.g. nvidia.com/gpu.",
        )


def _rights(seen: Observed) -> Iterator[Blocked]:
    for resource in seen.denied:
        yield Blocked(
            JobReason.NOT_ALLOWED,
            f"{seen.job.spec.requested_by.username} may not use {resource}. Ask the platform team for the RBAC verb "
            "`use` on it; the job goes on by itself when it is granted. A right that comes from a group counts only if "
            "spec.requestedBy.groups of the job names the group; `tunegate create job` does.",
        )


def _changed(seen: Observed, inputs: Inputs) -> Blocked | None:
    """Tell whether something was made again under its old name while the job ran: its results would not belong together."""
    status = seen.job.status
    pairs = (
        (f"BaseModel {inputs.base_model.name}", status.base_model_digest, inputs.base_digest),
        (f"the profile of ModelServer {inputs.server.name}", status.profile_digest, inputs.profile_digest),
        (f"EvaluationSuite {inputs.suite.name}", status.suite_digest, inputs.suite_digest),
    )
    for what, before, after in pairs:
        if before and before != after:
            message = f"{what} was {before[:19]}… when the job began and is {after[:19]}… now. Create a new job."
            return Blocked(JobReason.BAD_INPUT, message[0].upper() + message[1:], final=True)
    return None


def engine_spec(spec: FineTuneJobSpec) -> tuple[str, int]:
    """Return the development split of the job (fraction, seed): few-shot examples come from the training rows only."""
    return (spec.method.development_fraction, spec.method.seed) if spec.method else ("0.1", 17)


def _labels(obj: Any) -> dict[str, str]:
    return dict(obj["metadata"].get("labels") or {})
