"""What the planner of a FineTuneJob looks at: one reading of the world, made by the controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunegate.admission.rules import Window
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import RunImage
from tunegate.api.manifest import Manifest
from tunegate.api.modelserver import ModelServer
from tunegate.api.pushed import Pushed
from tunegate.api.shared import SuiteTries
from tunegate.api.stage.ends import ProgressReport
from tunegate.api.stage.results import BaselineResult, StageResult
from tunegate.reconcile.attempt.lost_result import Json, LostResult


@dataclass(frozen=True)
class StageSettings:
    """What the operator's settings say about stage pods."""

    trainer_image: str
    registry_host: str
    registry_plain_http: bool
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoreSecret:
    """A Secret that opens a store, without its content."""

    labels: Mapping[str, str]
    keys: frozenset[str]


@dataclass(frozen=True)
class ReusableBaseline:
    """A baseline that another job of the namespace measured, with the digest of the inputs that it had."""

    job: str
    repository: str
    inputs: str
    digest: str
    result: BaselineResult
    config_digest: str | None
    """Of the configuration that it was measured with."""
    images: tuple[RunImage, ...] = ()
    """What measured it."""


@dataclass(frozen=True)
class Observed:
    """A FineTuneJob and everything that decides what happens to it next. Absent objects are None."""

    job: FineTuneJob
    server: ModelServer | None = None
    base_model: BaseModel | None = None
    base_manifest: Manifest | None = None
    """From the BaseModel's result document; None while it can't be read."""
    suite: EvaluationSuite | None = None
    other_suites: Mapping[str, EvaluationSuite | None] = field(default_factory=dict)
    """The other suites of the namespace by name, while validation has yet to start; None: this version can't read it."""
    pool: ComputePool | None = None
    """The pool to train on: the job's, else the server's."""
    server_pool: ComputePool | None = None
    """The pool of the server: evaluation runs there."""
    policy: ApprovalPolicy | None = None
    unreadable: tuple[str, ...] = ()
    """Names of approvals of the job that cannot be read: while there are some, the others make no quorum."""
    approvals: tuple[Approval, ...] = ()
    """That name this job, while it waits for a waiver."""
    authorized: frozenset[str] = frozenset()
    """UIDs of those approvals that RBAC still backs."""
    windows: tuple[Window, ...] = ()
    """Times in which the admission rules may not have been in force."""
    denied: tuple[str, ...] = ()
    """Virtual resources that the requester may not `use`, e.g. ``computepools/a100``."""
    engine_images: tuple[str, ...] = ()
    """Images that may run as an engine."""
    claims: Mapping[str, Json] = field(default_factory=dict)
    """PersistentVolumeClaims of the namespace that exist, among those that the job needs, by name."""
    hub_endpoint: str | None = None
    """Address of the site's Hub mirror, for a base model that names none."""
    store_secret: StoreSecret | None = None
    """What `dataset.secretName` names; None when that is absent or does not exist."""
    documents_secret: StoreSecret | None = None
    """The same for `baseline.documents.secretName`."""
    takes_pushes: bool = True
    """Whether the installation has a registry of its own, into which data is pushed."""
    pushed: Mapping[str, Pushed | None] = field(default_factory=dict)
    """What was pushed at the addresses in the registry that the job names; None: nothing. One that is absent can't be read now."""
    today: str = ""
    """``YYYY-MM-DD``, in UTC."""
    jobs: tuple[Json, ...] = ()
    """batch/v1 Jobs of this FineTuneJob's UID."""
    pods: tuple[Json, ...] = ()
    results: Mapping[str, StageResult | LostResult] = field(default_factory=dict)
    """Result documents by digest, for every digest that a pod or the status names; a missing one could not be read now."""
    progress: ProgressReport | None = None
    pod_refusal: str | None = None
    """Why Kubernetes could not create a pod of the running attempt: a quota that is used up, a rule of the namespace."""
    earlier: ReusableBaseline | None = None
    """What the baseline can be taken over from instead of being measured."""
    namespace_jobs: tuple[FineTuneJob, ...] = ()
    """Those of the namespace that have not ended; read only where its policy has a budget, like the next field."""
    namespace_records: tuple[AuditRecordSpec, ...] = ()
    """What the ledger holds about jobs of the namespace."""
    tries: SuiteTries = field(default_factory=SuiteTries)
    """On the questions that the job was judged by; read once, after its end."""
    checkpoint_secret: Json | None = None
    """The Secret that should hold the key of the job's checkpoints, whoever made it."""
    fresh_checkpoint_key: bytes = b""
    """Random: what the key will be if there is none yet."""
    credential_exists: bool = False
    fresh_credential: str | None = None
    """A new Docker configuration, made because the old one is missing or will soon end."""
