"""Is the evidence of a release complete, and does it fit together? Pure: live objects in, a verdict with a reason out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from tunegate.api.basemodel import BaseModel
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.reasons import ReleaseReason
from tunegate.digests import document_digest
from tunegate.release.identity import unknown_requester
from tunegate.release.requesters import refused
from tunegate.release.statement import Complete, Evidence, Policy, evaluation_digest
from tunegate.release.suites import not_accepted


@dataclass(frozen=True)
class Shortfall:
    """Why no statement can be made. ``final``: waiting cannot change it, only another release can."""

    reason: ReleaseReason
    message: str
    final: bool = False


def job_shortfall(evidence: Evidence) -> Shortfall | None:
    """Return what is wrong with the job alone: before this is None, there is no evaluation to read."""
    ref, job = evidence.release.spec.job_ref, evidence.job
    if job is None:
        return Shortfall(
            ReleaseReason.WAITING_FOR_JOB, f"FineTuneJob {ref.name} does not exist in this namespace: check jobRef.name"
        )
    if job.uid != ref.uid:
        return Shortfall(
            ReleaseReason.JOB_NOT_PASSED,
            f"FineTuneJob {ref.name} has uid {job.uid}, jobRef.uid is {ref.uid}: it is another job of the same name. "
            "Create a new release with the uid of the job that you mean",
            final=True,
        )
    if not job.status.ended:
        return Shortfall(
            ReleaseReason.WAITING_FOR_JOB, f"FineTuneJob {ref.name} is {job.status.phase}: waiting for its verdict"
        )
    gate = job.status.gate
    if job.status.phase == "Failed" or gate is None or gate.outcome != "Pass":
        verdict = f"its gate is {gate.outcome}" if gate else "it has no evaluated adapter"
        return Shortfall(
            ReleaseReason.JOB_NOT_PASSED,
            f"FineTuneJob {ref.name} ended {job.status.phase} and {verdict}: only a passed gate can be released. "
            "Change data or method, run a new job, and release that one",
            final=True,
        )
    if job.status.adapter is None or job.status.dataset is None or evaluation_digest(job) is None:
        return Shortfall(ReleaseReason.WAITING_FOR_JOB, f"FineTuneJob {ref.name} has not recorded all its results yet")
    return None


def assess(evidence: Evidence) -> Complete | Shortfall:
    """Return the complete evidence, or the first thing that is missing or does not fit.

    Every digest that the evaluation names is compared with the object it speaks of: a verdict about another adapter,
    base model, profile or suite is no evidence for this one.
    """
    job, server, base, suite = evidence.job, evidence.server, evidence.base, evidence.suite
    wrong = job_shortfall(evidence)
    if wrong is not None or job is None or job.status.adapter is None or job.status.dataset is None:
        return wrong or _waiting("FineTuneJob has not recorded all its results yet")
    if job.status.dataset.statement_digest is None:
        return Shortfall(
            ReleaseReason.JOB_NOT_PASSED, f"FineTuneJob {job.name} has no data statement: run a new job", final=True
        )
    if server is None:
        return _waiting(f"ModelServer {job.spec.server_ref.name} does not exist")
    if not evidence.server_allowed:
        return Shortfall(
            ReleaseReason.NOT_ALLOWED,
            f"{evidence.release.spec.requested_by.username} may not use ModelServer {server.name}: ask its operators for "
            f'the RBAC verb "use" on modelservers/{server.name}. A right that comes from a group counts only if '
            "spec.requestedBy.groups of the release names the group; `tunegate create release` does",
        )
    if base is None:
        return _waiting(f"BaseModel {server.spec.base_model_ref.name} does not exist")
    if base.status.phase != "Ready" or base.status.manifest_digest is None:
        return _waiting(f"BaseModel {base.name} is {base.status.phase}")
    if suite is None:
        return _waiting(f"EvaluationSuite {job.spec.suite_ref.name} does not exist")
    if evidence.policy is None:
        return _waiting("the namespace's ApprovalPolicy does not exist")
    digest = evaluation_digest(job)
    if evidence.evaluation is None or digest is None:
        return Shortfall(ReleaseReason.WAITING_FOR_REGISTRY, "the evaluation's result document is not readable yet")
    complete = Complete(
        cluster=evidence.cluster,
        operator_image=evidence.operator_image,
        release=evidence.release,
        job=job,
        adapter=job.status.adapter,
        data_digest=job.status.dataset.digest,
        redacted_digest=job.status.dataset.redacted_digest,
        data_statement=job.status.dataset.statement_digest,
        rows=job.status.dataset.rows,
        server=server,
        base=base,
        base_digest=base.status.manifest_digest,
        suite=suite,
        policy=evidence.policy,
        evaluation=evidence.evaluation,
        result_digest=digest,
        tries=evidence.tries,
    )
    return (
        _misfit(complete)
        or refusal(complete.policy, complete.job, complete.release, base, evidence.evaluation.margin)
        or complete
    )


def _waiting(message: str) -> Shortfall:
    return Shortfall(ReleaseReason.WAITING_FOR_CATALOGUE, message)


def _misfit(complete: Complete) -> Shortfall | None:
    result = complete.evaluation
    pairs = {
        "adapter": (result.adapter_manifest_digest, complete.adapter.manifest_digest),
        "base model": (result.base_model_digest, complete.base_digest),
        "engine profile": (result.profile_digest, document_digest(complete.server.spec.profile.to_dict())),
        "suite": (result.suite_digest, document_digest(complete.suite.spec.to_dict())),
    }
    wrong = [f"{what} ({named[:19]}… is not {live[:19]}…)" for what, (named, live) in pairs.items() if named != live]
    if result.outcome != "Pass":
        wrong.append(f"outcome ({result.outcome})")
    if not wrong:
        return None
    return Shortfall(
        ReleaseReason.EVIDENCE_DIFFERS,
        f"the evaluation speaks of another {' and '.join(wrong)}: run a new job against the present objects",
        final=True,
    )


def refusal(
    owner: Policy, job: FineTuneJob, release: ModelRelease, base: BaseModel | None, margin: float | None
) -> Shortfall | None:
    """Return why the policy lets nobody approve the release; ``base`` and ``margin``, which the gate used: None where unknown."""
    policy, name = owner.spec, owner.name
    for kind, asked in (("job", job.spec), ("release", release.spec)):
        unknown = unknown_requester(policy.identity, name, asked.requested_by)
        if unknown is not None:
            return Shortfall(ReleaseReason.NOT_ALLOWED, f"{unknown} and create a new {kind}", final=True)
    wrong = refused(name, policy, release.spec.requested_by, job.spec.requested_by)
    if wrong is not None:
        return Shortfall(ReleaseReason.REQUESTER_UNVERIFIED, f"{wrong}. Then create a new release", final=True)
    if (wrong := not_accepted(name, policy, job.spec.suite_ref.name)) is not None:
        return Shortfall(ReleaseReason.SUITE_NOT_ACCEPTED, f"{wrong}. Then create a new job and release", final=True)
    if margin is not None and Decimal(repr(margin)) < Decimal(policy.min_margin):
        return Shortfall(
            ReleaseReason.SUITE_NOT_ACCEPTED,
            f"policy {name} asks for a margin of {policy.min_margin}; the gate used {margin}. Run a new job: its gate takes the policy's margin of now",
            final=True,
        )
    classification = job.spec.dataset.classification
    if classification not in policy.allowed_data or (base and classification not in base.spec.cleared_for):
        named = f"base model {base.name}" if base else "the base model"
        return Shortfall(
            ReleaseReason.DATA_NOT_ALLOWED,
            f"{classification} data is not allowed by policy {name} or not cleared for {named}. Train on data of another class, or ask the owners of policy and base model",
            final=True,
        )
    return None
