"""Controller of ModelRelease: reads release, evidence, approvals and ledger live, and lets the planner conclude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar

from pydantic import ValidationError

from tunegate.admission.rules import subject_of, windows
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.basemodel import BaseModel
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import STOPPED, ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.reasons import ReleaseReason
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE, STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT, EvaluateResult
from tunegate.controllers.approvals import Decisions, read_approvals, still_backed
from tunegate.controllers.documents import Documents
from tunegate.controllers.modelrelease.signing import EvidenceSigner
from tunegate.controllers.reading import read
from tunegate.controllers.removals import Removals
from tunegate.controllers.services import Services
from tunegate.controllers.suite_tries import tries_of
from tunegate.deadlines import REGISTRY_CALL_SECONDS
from tunegate.digests import sha256
from tunegate.errors import Terminal, Transient, wrong_fields
from tunegate.kube.client import ObjectKey, ObjectRef
from tunegate.reconcile import naming
from tunegate.reconcile.approvals import complete, votes
from tunegate.reconcile.modelrelease import planner, questions
from tunegate.reconcile.modelrelease.closed import closed
from tunegate.reconcile.modelrelease.ledger_entries import Frozen, last
from tunegate.reconcile.modelrelease.sealing import Signatures
from tunegate.reconcile.plan import Plan
from tunegate.reconcile.stops import Stop, stop_of, with_stop
from tunegate.registry import failures
from tunegate.release.counting import count
from tunegate.release.evidence import Shortfall, assess, job_shortfall
from tunegate.release.statement import Evidence, Policy, ReleaseStatement, build, differences, evaluation_digest

NEW_JOB = "Run a new job and release its output"


@dataclass(frozen=True)
class _Decided:
    """A release, the decisions on it, the policy in force, and why the release has to stop; None: nothing says so."""

    release: ModelRelease
    decisions: Decisions
    policy: ApprovalPolicy | None
    stop: Stop | None


class ModelReleaseController:
    """Counts approvals and follows serving; the only writer of a release's phase."""

    kind: ClassVar[str] = "ModelRelease"
    manager: ClassVar[str] = "tunegate-release"
    shows_progress: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._settings = services.settings
        self._registry = services.registry
        self._ledger = services.ledger
        self._documents = Documents(services.registry, services.registry_threads)
        self._cluster = ""
        self._removals = Removals(services)
        self._threads = services.registry_threads
        keys = services.keys
        self._signer = EvidenceSigner(services.registry, keys.key, self._threads) if keys is not None else None

    async def stop(self, key: ObjectKey) -> Plan | None:
        """Return the step that stops the release at once; see ``tunegate.reconcile.stops``."""
        seen = await self._decided(key)
        return planner.plan_stop(seen.release, seen.stop, datetime.now(UTC)) if seen is not None else None

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Return the release's next step; None when it is gone or its namespace is not governed."""
        decided = await self._decided(key)
        if decided is None:
            return None
        release = decided.release
        if (stopping := planner.plan_stop(release, decided.stop, datetime.now(UTC))) is not None:
            return stopping
        if (removing := await self._removals.plan(release)) is not None:
            return removing
        records = tuple(await self._ledger.of_subject(release.uid))
        readable = not decided.decisions.unreadable
        if release.status.phase in STOPPED and readable and closed(release, records, decided.decisions.approvals):
            return Plan(uid=release.uid)
        evidence = await self._evidence(release, decided.policy)
        request = last(records, "ReleaseRequested")
        if request is None:
            frozen, shortfall = await self._make(evidence)
        else:
            frozen, shortfall = await self._load(request)
        if frozen is not None and request is not None:
            evidence = await self._server_of(evidence, frozen)
        policy = evidence.policy.spec if evidence.policy else None
        question = questions.question(release, frozen if request is not None else None, policy)
        # Again: evidence may have taken its time, and a quorum must not miss what was decided meanwhile.
        decisions = await read_approvals(self._kube, release)
        approvals, now = decisions.approvals, datetime.now(UTC)
        stop = stop_of(release, approvals, policy.roles if policy is not None else (), now)
        if (stopping := planner.plan_stop(release, stop, now)) is not None:
            return stopping
        authorized = await still_backed(self._kube, release, approvals, question.digest)
        overriding = questions.override_question(release, frozen if request is not None else None)
        times = windows(await self._ledger.of_subject(subject_of(self._settings.system_namespace).uid))
        cast = votes(approvals, question.roles, authorized, times)
        overrides = questions.overrides(votes(approvals, overriding.roles, authorized, times))
        seen = planner.Observed(
            release=release,
            approvals=approvals,
            unreadable=decisions.unreadable,
            verdict=with_stop(complete(count(question, cast, now), decisions.unreadable), stop, cast),
            overrides=complete(count(overriding, overrides, now), decisions.unreadable),
            records=records,
            frozen=frozen,
            shortfall=shortfall,
            changed=differences(frozen.statement, evidence) if frozen is not None else (),
            unguarded=questions.made_unguarded(release, evidence.job, times),
            server=evidence.server,
            signatures=await self._sign(release, evidence.job, frozen, records),
        )
        return planner.plan(seen, now)

    async def _decided(self, key: ObjectKey) -> _Decided | None:
        """Read the release and whether a decision on it stops it; None when it is gone or its namespace is not governed."""
        policy_name = self._settings.policy_of(key.namespace)
        release = await read(self._kube, ModelRelease, key.name, key.namespace)
        if policy_name is None or release is None or release.metadata.get("deletionTimestamp"):
            return None
        decisions = await read_approvals(self._kube, release)
        policy = await read(self._kube, ApprovalPolicy, policy_name)
        roles = policy.spec.roles if policy is not None else ()
        stop = stop_of(release, decisions.approvals, roles, datetime.now(UTC))
        return _Decided(release, decisions, policy, stop)

    async def _evidence(self, release: ModelRelease, policy: ApprovalPolicy | None) -> Evidence:
        namespace = release.namespace
        job = await read(self._kube, FineTuneJob, release.spec.job_ref.name, namespace)
        server = await read(self._kube, ModelServer, job.spec.server_ref.name, namespace) if job else None
        base = await read(self._kube, BaseModel, server.spec.base_model_ref.name) if server else None
        suite = await read(self._kube, EvaluationSuite, job.spec.suite_ref.name, namespace) if job else None
        return Evidence(
            cluster=await self._cluster_id(),
            operator_image=self._settings.operator_image,
            release=release,
            job=job,
            server=server,
            base=base,
            suite=suite,
            policy=Policy(policy.name, policy.uid, policy.spec) if policy else None,
            server_allowed=server is not None and await self._may_use(release, server),
        )

    async def _may_use(self, release: ModelRelease, server: ModelServer) -> bool:
        person, namespace = release.spec.requested_by, release.namespace
        return await self._kube.allowed(
            person, verb="use", resource="modelservers", name=server.name, namespace=namespace
        )

    async def _server_of(self, evidence: Evidence, frozen: Frozen) -> Evidence:
        """Return the evidence with server and base model of the statement: the job may be gone, or be another one."""
        statement = frozen.statement
        server = await read(self._kube, ModelServer, statement.engine.server, evidence.release.namespace)
        base = await read(self._kube, BaseModel, statement.base_model.name)
        return replace(evidence, server=server, base=base)

    async def _make(self, evidence: Evidence) -> tuple[Frozen | None, Shortfall | None]:
        """Build the statement and store it; before the ledger names it, it may be built again at will."""
        job = evidence.job
        wrong = job_shortfall(evidence)
        if wrong is not None or job is None:
            return None, wrong
        repository = f"{naming.job_repository(job.namespace, job.name, job.uid)}/results"
        digest = evaluation_digest(job) or ""
        try:
            content = await self._documents.read(repository, digest, RESULT_MEDIA_TYPE)
            result = STAGE_RESULT.validate_json(content)
        except failures.RegistryError as error:
            return None, Shortfall(ReleaseReason.WAITING_FOR_REGISTRY, f"the evaluation's result: {error}")
        except ValidationError as error:
            message = f"the evaluation's result cannot be read, {wrong_fields(error)}. {NEW_JOB}"
            return None, Shortfall(ReleaseReason.EVIDENCE_DIFFERS, message[:1000], final=True)
        if not isinstance(result, EvaluateResult):
            message = f"the evaluation's result is one of stage {result.stage}. {NEW_JOB}"
            return None, Shortfall(ReleaseReason.EVIDENCE_DIFFERS, message, final=True)
        found = assess(replace(evidence, evaluation=result, tries=await tries_of(self._ledger, job)))
        if isinstance(found, Shortfall):
            return None, found
        return await self._store(build(found))

    async def _store(self, statement: ReleaseStatement) -> tuple[Frozen | None, Shortfall | None]:
        release = statement.release
        repository = naming.statement_repository(release.namespace, release.name, release.uid)
        content = statement.content
        try:
            oci = await self._threads.call(
                REGISTRY_CALL_SECONDS, self._registry.push_document, repository, content, STATEMENT_MEDIA_TYPE
            )
        except failures.RegistryError as error:
            return None, Shortfall(ReleaseReason.WAITING_FOR_REGISTRY, f"the statement cannot be stored: {error}")
        return Frozen(statement, statement.digest, repository, oci), None

    async def _load(self, request: AuditRecordSpec) -> tuple[Frozen | None, Shortfall | None]:
        """Read the statement that the ledger names and hash it again, at every reconcile."""
        payload = request.payload
        repository, oci = payload["repository"], payload["statement"]
        try:
            content = await self._documents.read(repository, oci, STATEMENT_MEDIA_TYPE)
        except (failures.DigestMismatch, failures.Refused, failures.Missing) as error:
            message = f"the stored release statement is damaged or gone: {error}. Restore the registry from its backup"
            return None, Shortfall(ReleaseReason.DIGEST_MISMATCH, message)
        except failures.RegistryError as error:
            return None, Shortfall(ReleaseReason.WAITING_FOR_REGISTRY, f"the release statement: {error}")
        digest = sha256(content)
        if digest != payload["releaseDigest"]:
            message = (
                f"the stored statement hashes to {digest}, the ledger holds {payload['releaseDigest']}: somebody replaced "
                "it. Restore the registry from its backup, and find out who may write to it"
            )
            return None, Shortfall(ReleaseReason.DIGEST_MISMATCH, message)
        try:
            return Frozen(ReleaseStatement.model_validate_json(content), digest, repository, oci), None
        except ValidationError as error:
            raise Terminal("StatementUnreadable", f"release statement {digest}: {wrong_fields(error)}") from None

    async def _sign(
        self,
        release: ModelRelease,
        job: FineTuneJob | None,
        frozen: Frozen | None,
        records: Sequence[AuditRecordSpec],
    ) -> Signatures | Shortfall | None:
        """Sign what the ledger says was stated and not yet that it was signed; nothing is signed for a release that ended."""
        stated, sealed = last(records, "ReleaseRequested"), last(records, "EvidenceSealed")
        if self._signer is None or frozen is None or stated is None or sealed is not None:
            return None
        if release.status.phase in STOPPED:
            return None
        return await self._signer.sign(frozen, job)

    async def _cluster_id(self) -> str:
        if not self._cluster:
            found = await self._kube.get(ObjectRef("v1", "Namespace", "kube-system"))
            if found is None:
                raise Transient("namespace kube-system is not readable: its UID names the cluster in every statement")
            self._cluster = str(found["metadata"]["uid"])
        return self._cluster
