"""The release statement: everything that approvers agree to, in one document; its digest is what an Approval names.

It is built once, from objects that are complete, and stored by digest. Later it is compared with the live objects: a
part that has changed is named, and the policy that counts is the one inside, never the live one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tunegate.api.approval import CountedApproval
from tunegate.api.approvalpolicy import ApprovalPolicySpec, IdentityRule, WaiverRule
from tunegate.api.basemodel import BaseModel
from tunegate.api.evaluationsuite import EvaluationSuite, MetricName
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import AdapterStatus, GateOutcome, RunImage, StageName, WaiverFinding
from tunegate.api.markers import DataClass, Day, Digest, StrictModel
from tunegate.api.modelrelease import ModelRelease, ModelReleaseSpec
from tunegate.api.modelserver import EngineProfile, ModelServer
from tunegate.api.shared import Contributor, Requester, SuiteTries
from tunegate.api.stage.results import EvaluateResult
from tunegate.digests import canonical, document_digest, sha256


class ReleasePart(StrictModel):
    """Which release; its spec holds requester, model name, intended use and risk."""

    namespace: str
    name: str
    uid: str
    spec: ModelReleaseSpec


class WaiverPart(StrictModel):
    """What validation found and people answered for."""

    digest: Digest
    findings: list[WaiverFinding]
    rules: list[WaiverRule]
    """Who had to agree."""
    identity: IdentityRule | None = None
    """What had to be known of them; absent: their accounts."""
    approvals: list[CountedApproval]
    granted_time: str


class JobPart(StrictModel):
    """Which job made the adapter, and what its stages answered."""

    name: str
    uid: str
    requested_by: Requester
    contributors: list[Contributor] = []
    """Who else may not approve."""
    source: Literal["Train", "Import"]
    results: dict[StageName, Digest]
    """OCI digests of the result documents."""
    images: dict[StageName, list[RunImage]]
    """What each stage ran with that gave a result, as the nodes named it."""
    waiver: WaiverPart | None = None
    """Absent: validation passed."""


class BasePart(StrictModel):
    """The base model under the adapter."""

    name: str
    manifest_digest: Digest
    license: str
    publisher: str


class EnginePart(StrictModel):
    """The server and everything that decides what its engine answers."""

    server: str
    server_uid: str
    profile: EngineProfile
    digest: Digest


class DataPart(StrictModel):
    """What the adapter learned from."""

    digest: Digest
    redacted_digest: Digest | None = None
    """Of the copy without personal data or secrets that was trained on; absent: the data itself was."""
    statement_digest: Digest
    """OCI digest of the data statement in the job's results: every check, setting, count and version."""
    rows: int
    classification: DataClass
    license: str
    source: str
    steward: str
    expiration_date: Day | None = None
    """Last day on which the data may be used; absent: no such day was stated."""


class EvaluationPart(StrictModel):
    """The verdict and where its proof lies."""

    suite: str
    suite_digest: Digest
    suite_data_digest: Digest | None = None
    suite_tries: SuiteTries
    """How often these questions were tried when the statement was made: many tries make a lucky pass likely."""
    result_digest: Digest
    outcome: GateOutcome
    metric: MetricName
    tuned: str
    margin: str


class PolicyPart(StrictModel):
    """The rules that hold for this release, whatever happens to the live policy."""

    name: str
    uid: str
    digest: Digest
    spec: ApprovalPolicySpec


class ReleaseStatement(StrictModel):
    """What is approved."""

    kind: Literal["ReleaseStatement"] = "ReleaseStatement"
    version: Literal[1] = 1
    cluster: str
    """UID of the namespace `kube-system`: a statement holds in one cluster only."""
    operator_image: str
    """What orchestrated the stages and made the statement, as the chart names it."""
    release: ReleasePart
    job: JobPart
    adapter: AdapterStatus
    base_model: BasePart
    engine: EnginePart
    data: DataPart
    evaluation: EvaluationPart
    policy: PolicyPart

    @property
    def served_name(self) -> str:
        """Immutable name of the adapter in the engine."""
        return f"{self.release.name}-{self.adapter.digest.removeprefix('sha256:')[:8]}"

    @property
    def content(self) -> bytes:
        """The RFC 8785 bytes that are stored."""
        return canonical(self.to_dict())

    @property
    def digest(self) -> str:
        """The release digest of a statement made now. For a stored one hash the stored bytes instead."""
        return sha256(self.content)


@dataclass(frozen=True)
class Policy:
    """The live policy of the namespace."""

    name: str
    uid: str
    spec: ApprovalPolicySpec


@dataclass(frozen=True)
class Evidence:
    """The live objects that a release speaks of; None where an object is missing or not read."""

    cluster: str
    operator_image: str
    release: ModelRelease
    job: FineTuneJob | None
    server: ModelServer | None
    base: BaseModel | None
    suite: EvaluationSuite | None
    policy: Policy | None
    server_allowed: bool = False
    """Whether the requester holds the RBAC verb `use` on the server."""
    evaluation: EvaluateResult | None = None
    """The result document of the job's evaluation, read from the registry."""
    tries: SuiteTries = field(default_factory=SuiteTries)
    """On the questions that the job was judged by, from the ledger."""


@dataclass(frozen=True)
class Complete:
    """Evidence in which nothing is missing and everything fits together (see ``tunegate.release.evidence``)."""

    cluster: str
    operator_image: str
    release: ModelRelease
    job: FineTuneJob
    adapter: AdapterStatus
    data_digest: str
    redacted_digest: str | None
    data_statement: str
    rows: int
    server: ModelServer
    base: BaseModel
    base_digest: str
    suite: EvaluationSuite
    policy: Policy
    evaluation: EvaluateResult
    result_digest: str
    tries: SuiteTries


def build(evidence: Complete) -> ReleaseStatement:
    """Return the statement of a release whose evidence is complete."""
    job, result, policy = evidence.job, evidence.evaluation, evidence.policy
    dataset = job.spec.dataset
    return ReleaseStatement(
        cluster=evidence.cluster,
        operator_image=evidence.operator_image,
        release=_release_part(evidence.release),
        job=_job_part(job),
        adapter=evidence.adapter,
        base_model=_base_part(evidence.base, evidence.base_digest),
        engine=_engine_part(evidence.server),
        data=DataPart(
            digest=evidence.data_digest, redacted_digest=evidence.redacted_digest,
            statement_digest=evidence.data_statement, rows=evidence.rows, classification=dataset.classification,
            license=dataset.license, source=dataset.source, steward=dataset.steward, expiration_date=dataset.expiration_date,
        ),
        evaluation=EvaluationPart(
            suite=evidence.suite.name, suite_digest=result.suite_digest,
            suite_data_digest=evidence.suite.spec.data.digest, suite_tries=evidence.tries,
            result_digest=evidence.result_digest,
            outcome=result.outcome, metric=result.metric, tuned=f"{result.tuned[result.metric]:.4f}",
            margin=f"{result.margin:.4f}",
        ),
        policy=PolicyPart(
            name=policy.name, uid=policy.uid, digest=document_digest(policy.spec.to_dict()), spec=policy.spec
        ),
    )  # fmt: skip


def differences(stored: ReleaseStatement, live: Evidence) -> tuple[str, ...]:
    """Return the parts in which live objects are no longer what the statement says.

    A job or server that was deleted meanwhile takes nothing back: what it was is in the statement, and its results lie
    in the registry by digest. The policy is not compared: the frozen one counts.
    """
    changed = []
    if live.cluster != stored.cluster:
        changed.append("cluster id")
    if _release_part(live.release) != stored.release:
        changed.append("release spec")
    job = live.job
    if job is not None and job.uid == stored.job.uid and job.status.phase == "Succeeded":
        if _job_part(job) != stored.job or _data_differs(job, stored.data):
            changed.append("job")
        if job.status.adapter != stored.adapter:
            changed.append("adapter")
    base = live.base
    found = base.status.manifest_digest if base is not None else None
    if base is not None and found is not None and _base_part(base, found) != stored.base_model:
        changed.append("base model")
    if live.server is not None and live.server.spec.profile != stored.engine.profile:
        changed.append("engine profile")
    return tuple(changed)


def evaluation_digest(job: FineTuneJob) -> str | None:
    """Return the OCI digest of the job's evaluation result, if it has one."""
    return job.status.stage("Evaluate").result_digest


def _release_part(release: ModelRelease) -> ReleasePart:
    return ReleasePart(namespace=release.namespace, name=release.name, uid=release.uid, spec=release.spec)


def _job_part(job: FineTuneJob) -> JobPart:
    return JobPart(
        name=job.name,
        uid=job.uid,
        requested_by=job.spec.requested_by,
        contributors=job.spec.contributors,
        source=job.spec.source,
        results={stage.name: stage.result_digest for stage in job.status.stages if stage.result_digest is not None},
        images={stage.name: stage.images for stage in job.status.stages if stage.result_digest is not None},
        waiver=_waiver_part(job),
    )


def _waiver_part(job: FineTuneJob) -> WaiverPart | None:
    waiver = job.status.waiver
    if waiver is None or waiver.granted_time is None:
        return None
    return WaiverPart(
        digest=waiver.digest,
        findings=waiver.findings,
        rules=waiver.rules,
        identity=waiver.identity,
        approvals=waiver.counted,
        granted_time=waiver.granted_time,
    )


def _base_part(base: BaseModel, manifest_digest: str) -> BasePart:
    return BasePart(
        name=base.name, manifest_digest=manifest_digest, license=base.spec.license, publisher=base.spec.publisher
    )


def _engine_part(server: ModelServer) -> EnginePart:
    profile = server.spec.profile
    return EnginePart(
        server=server.name, server_uid=server.uid, profile=profile, digest=document_digest(profile.to_dict())
    )


def _data_differs(job: FineTuneJob, data: DataPart) -> bool:
    dataset, found = job.spec.dataset, job.status.dataset
    live = (dataset.classification, dataset.license, dataset.source, dataset.steward, dataset.expiration_date)
    stated = (data.classification, data.license, data.source, data.steward, data.expiration_date)
    if found is None or live != stated:
        return True
    digests = (found.digest, found.redacted_digest, found.statement_digest)
    return digests != (data.digest, data.redacted_digest, data.statement_digest)
