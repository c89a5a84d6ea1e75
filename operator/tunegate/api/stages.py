"""The contract between the operator and stage pods: one JSON document in, one JSON document out.

In: the operator writes a ``StageConfig`` to ``CONFIG_PATH`` of the pod. Out: the stage pushes its ``StageResult`` to the
registry and writes a ``Termination`` to ``TERMINATION_PATH``. A stage that reached a verdict, good or bad, exits 0 with
a result; any other exit code is an attempt without a verdict (see ``ExitCode``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.datachecks import DEFAULTS, CheckSetting
from tunegate.api.evaluationsuite import ArmName, EvaluationSuiteSpec, MetricName
from tunegate.api.finetunejob import Budget, Economics, GateOutcome, Intent, Method
from tunegate.api.markers import DataClass, Day, Decimal, Digest, StrictModel
from tunegate.api.modelserver import EngineProfile

CONFIG_PATH = "/etc/tunegate/config/stage.json"
REGISTRY_AUTH_PATH = "/etc/tunegate/registry/config.json"
"""Docker configuration file with the stage's own credential (``auths.<host>.registrytoken`` or ``auth``)."""
"""Files `username` and `password` of the MLflow server, where it wants them."""
CA_PATH = "/etc/tunegate/ca/ca.crt"
"""Additional certificate authority for registry and MLflow; may be absent."""
STORE_DIR = "/etc/tunegate/store"
"""Files of the Secret that says where an S3-compatible store is and who may read it, named like AWS's environment variables."""
HUB_TOKEN = "HF_TOKEN"
HUB_AUTHORITY = "ca.crt"
"""Files in ``STORE_DIR`` where a model comes from a Hub mirror: what opens it, and who signs its certificate."""
STORE_REQUIRED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
TERMINATION_PATH = "/dev/termination-log"
BASE_MODEL_MOUNT = "/mnt/base"
DATASET_MOUNT = "/mnt/dataset"
SUITE_MOUNT = "/mnt/suite"
IMPORT_MOUNT = "/mnt/import"
FURTHER_SUITES_MOUNT = "/mnt/suites"
"""One folder for each claim, by its name."""
DOCUMENTS_MOUNT = "/mnt/documents"
WORKSPACE_MOUNT = "/workspace"
REDACTED_FILE = "redacted.jsonl"
"""In the workspace: the data set that all stages after validation read where a check redacts."""
ADAPTER_MOUNT = "/adapter"
"""Shared folder of an evaluation pod: `fetch` puts the verified adapter here, vLLM loads it from here."""
MAX_DOCUMENTS = 2000
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Bounds of `baseline.documents`, in files and in bytes of all of them. They are searched in the stage's memory: 32 MiB of
words that all differ take 1.1 GB, and 22 s of a core."""
PROGRESS_PORT = 8090
"""`GET /progress` on the pod answers with a ``ProgressReport``; no Kubernetes credential is needed to report."""
ENGINE_PORT = 8000
"""vLLM sidecar, on loopback of the pod only."""
BASE_SERVED_NAME = "base"
TUNED_SERVED_NAME = "tuned"

RUNS = (2, 3)
"""Times that a training is usually run until it is good: the cost of one run is not the cost of the result."""

RESULT_MEDIA_TYPE = "application/vnd.tunegate.stage-result.v1+json"
ANSWERS_MEDIA_TYPE = "application/vnd.tunegate.answers.v2+jsonl"
ADAPTER_MEDIA_TYPE = "application/vnd.tunegate.adapter.v1"
DATA_STATEMENT_MEDIA_TYPE = "application/vnd.tunegate.data-statement.v1+json"
DATA_PAGE_MEDIA_TYPE = "application/vnd.tunegate.data-page.v1+html"
STATEMENT_MEDIA_TYPE = "application/vnd.tunegate.release-statement.v1+json"


class ExitCode(IntEnum):
    """How a stage process ends."""

    VERDICT = 0
    """A result was pushed; its `outcome` says which."""
    BAD_INPUT = 3
    """The configuration or a mounted input is not what was promised (wrong digest, missing file): trying again is futile."""
    UNAVAILABLE = 4
    """Something outside is missing for now (registry, engine): try again."""
    OUT_OF_MEMORY = 5
    PREEMPTED = 75
    """Stopped by SIGTERM with a checkpoint written (EX_TEMPFAIL of sysexits.h): go on later."""


class JobIdentity(StrictModel):
    """Whose stage this is."""

    namespace: str
    name: str
    uid: str
    attempt: int


class RegistryTarget(StrictModel):
    """Where results go."""

    host: str
    """`host[:port]`."""
    plain_http: bool = False
    repository: str
    """Prefix that belongs to this job alone; stages write `<repository>/results`, `/data`, `/answers` and `/adapter`."""


class FileEntry(StrictModel):
    """One file of a manifest."""

    path: str
    size: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(StrictModel):
    """Sorted list of files; its digest (``tunegate.digests.manifest_digest``) names the content."""

    files: list[FileEntry]


class BaseModelInput(StrictModel):
    """The base model as the catalogue knows it."""

    name: str
    path: str
    context_length: int
    manifest: Manifest
    manifest_digest: Digest


class DatasetInput(StrictModel):
    """The training rows."""

    path: str
    digest: Digest | None = None
    group_field: str | None = None


class DocumentsInput(StrictModel):
    """What is searched for passages."""

    path: str
    digest: Digest | None = None


class DataOrigin(StrictModel):
    """Where the training rows came from and who answers for them, in the words of the job."""

    uri: str
    source: str
    license: str
    classification: DataClass
    steward: str
    retain_until: Day | None = None


class SuiteInput(StrictModel):
    """The gate."""

    name: str
    path: str
    digest: Digest
    """SHA-256 of the RFC 8785 JSON of the suite's spec."""
    spec: EvaluationSuiteSpec


class FurtherSuite(StrictModel):
    """Another suite of the namespace: training rows must not give its questions away either. Without its spec: 32 of them,
    with prompts and schemas, would outgrow a ConfigMap."""

    name: str
    path: str
    digest: Digest
    """As in ``SuiteInput``."""
    data_digest: Digest
    """SHA-256 of the questions' file."""


class AdapterInput(StrictModel):
    """The sealed adapter."""

    repository: str
    digest: Digest
    manifest: Manifest
    manifest_digest: Digest
    path: str = ADAPTER_MOUNT


class LearnedThroughput(StrictModel):
    """What finished trainings on the pool, with the job's method, measured."""

    tokens_per_second: Decimal
    """Of one device, for a model of one billion parameters: the median."""
    runs: int


class StageConfigBase(StrictModel):
    """What every stage is told."""

    job: JobIdentity
    registry: RegistryTarget


class HashConfig(StageConfigBase):
    """Hash a base model for the catalogue."""

    stage: Literal["hash"] = "hash"
    path: str
    expected_manifest_digest: Digest | None = None


class ValidateConfig(StageConfigBase):
    """Check the data and reckon the cost, on a CPU."""

    stage: Literal["validate"] = "validate"
    base_model: BaseModelInput
    profile: EngineProfile
    dataset: DatasetInput
    suite: SuiteInput
    further_suites: list[FurtherSuite] = []
    unread_suites: dict[str, str] = {}
    """Suites of the namespace that the pod is not given: name to why."""
    intent: Intent
    method: Method | None = None
    import_path: str | None = None
    documents: DocumentsInput | None = None
    author_prompt: str | None = None
    """As in ``BaselineConfig``: an alternative must not know the suite's questions."""
    checks: list[CheckSetting] = list(DEFAULTS.values())
    """What each check of the data does: the policy's word, made stricter by the job's."""
    origin: DataOrigin
    pool: ComputePoolSpec
    learned: LearnedThroughput | None = None
    """Counts instead of `pool.throughput`; absent: too few trainings have ended there."""
    budget: Budget = Budget()
    economics: Economics | None = None


class EngineConfigBase(StageConfigBase):
    """A stage with a vLLM sidecar."""

    base_model: BaseModelInput
    profile: EngineProfile
    dataset: DatasetInput
    suite: SuiteInput
    development_fraction: str = "0.1"
    seed: int = 17
    author_prompt: str | None = None
    """An instruction of the job's author, as one more alternative."""


class BaselineConfig(EngineConfigBase):
    """Let the base model and the cheap alternatives answer the suite."""

    stage: Literal["baseline"] = "baseline"
    documents: DocumentsInput | None = None


class TrainConfig(StageConfigBase):
    """Train the adapter."""

    stage: Literal["train"] = "train"
    base_model: BaseModelInput
    dataset: DatasetInput
    method: Method
    pool: ComputePoolSpec


class SealConfig(StageConfigBase):
    """Turn the trained or imported adapter into an OCI artifact."""

    stage: Literal["seal"] = "seal"
    source_path: str
    base_model_name: str
    base_model_digest: Digest
    max_lora_rank: int


class EvaluateConfig(EngineConfigBase):
    """Judge the sealed adapter."""

    stage: Literal["evaluate"] = "evaluate"
    adapter: AdapterInput
    baseline_result: Digest
    """Result of the baseline stage: scores and answers of the arms."""
    baseline_repository: str
    """Registry prefix below which that result and its answers lie: the job's own, or that of an earlier job."""
    documents_digest: Digest | None = None
    """Of the documents that the arms of that result must have searched."""
    min_margin: str
    """Floor that the approval policy puts under the suite's margin."""


class FetchConfig(StageConfigBase):
    """Pull and verify a sealed adapter into ``adapter.path``: init container of evaluation pods."""

    stage: Literal["fetch"] = "fetch"
    adapter: AdapterInput


class DownloadConfig(StageConfigBase):
    """Copy an input from an S3-compatible store into ``path``: init container of pods that read it."""

    stage: Literal["download"] = "download"
    bucket: str
    key: str
    """An object, or what all objects of a folder begin with, without a slash at its end."""
    path: str
    """Where the object, or the folder, is to lie."""
    max_bytes: int
    """More than this is refused before a byte is read: the pod's folder has no more room."""
    too_large: str
    """What to do about it."""


class CopyModelConfig(StageConfigBase):
    """Copy a base model from a Hub mirror into ``path``: init container of pods that read it."""

    stage: Literal["copy-model"] = "copy-model"
    endpoint: str
    repository: str
    """`organization/name`."""
    revision: str
    """Full commit hash."""
    path: str
    max_bytes: int
    """More than this is refused before a byte is read: the pod's folder has no more room."""
    secret_name: str | None = None
    """The Secret that should lie in ``STORE_DIR``, for messages."""
    manifest: Manifest | None = None
    """What the catalogue admitted: exactly these files with these bytes; None: not admitted yet."""


StageConfig = Annotated[
    HashConfig
    | ValidateConfig
    | BaselineConfig
    | TrainConfig
    | SealConfig
    | EvaluateConfig
    | FetchConfig
    | DownloadConfig
    | CopyModelConfig,
    Field(discriminator="stage"),
]
STAGE_CONFIG: TypeAdapter[StageConfig] = TypeAdapter(StageConfig)


class ProgressReport(StrictModel):
    """What a stage says about itself while it runs."""

    stage: str
    percent: int
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    remaining_seconds: int | None = None
    message: str = ""


FindingAction = Literal["Block", "Redact", "Warn"]


class Finding(StrictModel):
    """One thing that a check found. Never the text itself: counts and places of rows only."""

    check: str
    action: FindingAction
    count: int
    rows: list[str] = []
    """The first 20 places: the row's number from 1, in a folder of files with the file's name and a colon before it."""
    message: str

    def places(self, most: int = 20) -> str:
        """Return the first places for people, and how many of them are not there; ``most``: the room for them."""
        given = self.rows[:most]
        cut = f", … ({len(given)} of {self.count} row numbers)" if self.count > len(given) > 0 else ""
        return ", ".join(given) + cut


class Savings(StrictModel):
    """What the tuned model saves, in the pool's currency, and when it has paid for its training."""

    monthly: float
    break_even_months: tuple[float, float] | None
    """For two and for three runs; None: never, since serving it costs as much as what it replaces, or more."""


class RedactedData(StrictModel):
    """The data set that took the source's place: ``REDACTED_FILE`` of the job's workspace."""

    digest: Digest
    rows: int
    """Rows that were changed."""
    replaced: dict[str, int]
    """Placeholder to how often it was put in."""


class ComparedSuite(StrictModel):
    """A suite whose questions were looked for in the rows."""

    name: str
    digest: Digest
    """SHA-256 of the RFC 8785 JSON of its spec, which names the questions' digest."""
    questions: int


class ValidateResult(StrictModel):
    """Facts about the data and the cost."""

    stage: Literal["validate"] = "validate"
    outcome: Literal["Passed", "Refused"]
    checks: list[CheckSetting]
    """What each check of the data did: without it, no finding could also mean not looked for."""
    findings: list[Finding] = []
    dataset_digest: Digest
    """Of the source."""
    redacted: RedactedData | None = None
    """None: nothing had to be redacted, or it could not be; all numbers below are those of what training would see."""
    rows_digest: Digest
    """Of the conversations alone: the same in any order, form, file or compression."""
    statement_digest: Digest | None = None
    """OCI digest of the data statement in `<repository>/results`; None: nothing was kept, as by `tunegate plan`."""
    documents_digest: Digest | None = None
    """Of the documents of the baseline; None: the job names none."""
    page_digest: Digest | None = None
    """OCI digest of the page in `<repository>/data`, which shows rows: for evaluation owners and reviewers."""
    dataset_form: str
    """How the rows are written: Messages, PromptCompletion, Alpaca, ShareGPT or Preference."""
    rows: int
    tokens: int
    longest_row_tokens: int
    token_histogram: dict[str, int]
    """Rows by length: the power of two up to which their tokens reach, to their number."""
    rows_too_long: int
    duplicates: int
    near_duplicates: int | None = None
    """None: the check NearDuplicates was off."""
    overlap_rows: int | None = None
    """By those of the checks Overlap and SharedText that were on, in all suites; None: both were off."""
    compared_suites: list[ComparedSuite] = []
    """Those that Overlap and SharedText looked for, the job's own first; none when both were off."""
    training_rows: int
    development_rows: int
    suite_questions: int
    suite_sketch: str = ""
    """Of the suite's questions (``tunegate.sketch``)."""
    trainable_parameters: int
    total_parameters: int
    adapter_bytes: int
    peak_memory_bytes: int
    memory_parts: dict[str, int]
    """Bytes by part, at the high end: weights, adapter, gradients, optimizer, activations, logits, runtime."""
    device_hours: float
    cost: float
    """Of one run."""
    savings: Savings | None = None
    """None: the job says nothing about economics."""
    throughput: float | None = None
    """Tokens per second of one device for a billion parameters, by which the hours were reckoned; None: an import."""
    throughput_runs: int = 0
    """Finished trainings that measured it; 0: the pool's spec says it."""
    smallest_visible_gain: float
    chat_template_digest: Digest

    @property
    def usual_cost(self) -> tuple[float, float]:
        """What it usually takes until the result is good: the low and the high end of ``RUNS``."""
        low, high = RUNS
        return low * self.cost, high * self.cost


class ArmResult(StrictModel):
    """Scores of one arm over the suite, as fractions between 0 and 1."""

    name: ArmName
    scores: dict[MetricName, float]
    class_scores: dict[str, float] = {}
    """F1 of each class, where the suite reports macro F1."""
    seconds: float


class BaselineResult(StrictModel):
    """What the cheap alternatives reach."""

    stage: Literal["baseline"] = "baseline"
    outcome: Literal["Passed", "PromptingSuffices"]
    best_arm: ArmName
    arms: list[ArmResult]
    questions: int
    cache_key: Digest
    """Digest of (profile, base model, suite, dataset, prompts, documents): equal keys, equal answers up to engine noise."""
    documents_digest: Digest | None = None
    """Of the documents that were searched."""
    answers_digest: Digest
    """OCI digest of the alternatives' answers in `<repository>/answers` (``tunegate.api.answers``)."""
    prompt: str
    """How the best arm that asks the base model asks it, as a template."""


class TrainResult(StrictModel):
    """What training did."""

    stage: Literal["train"] = "train"
    outcome: Literal["Passed", "Diverged"]
    steps: int
    epochs: float
    tokens: int
    training_loss: float
    development_loss: float | None
    best_step: int
    overfitting: bool
    """The development loss rose by more than 10 % above its best."""
    loss_history: list[tuple[int, float]]
    development_history: list[tuple[int, float]]
    seconds: float
    """Of all attempts together."""
    resumed_from_step: int
    world_size: int
    adapter_path: str
    hyperparameters: dict[str, str]
    libraries: dict[str, str]
    hardware: dict[str, str] = {}
    """Devices of the first node, their driver and its CUDA; empty where it trained on CPU."""


class SealResult(StrictModel):
    """The sealed adapter."""

    stage: Literal["seal"] = "seal"
    outcome: Literal["Passed", "Refused"]
    findings: list[Finding] = []
    repository: str = ""
    digest: Digest | None = None
    manifest: Manifest | None = None
    manifest_digest: Digest | None = None
    bytes: int = 0
    rank: int = 0
    target_modules: list[str] = []


class ArmVerdict(StrictModel):
    """Tuned minus arm, on the primary metric."""

    name: ArmName
    score: float
    difference: float
    lower: float
    upper: float
    outcome: GateOutcome
    scores: dict[MetricName, float] = {}
    """All metrics of the arm, for people."""


class GuardrailVerdict(StrictModel):
    """A metric that may not get worse than the best base arm by more than its tolerance."""

    name: MetricName
    tuned: float
    base: float
    lower: float
    held: bool


class ProbeItem(StrictModel):
    """One recorded answer by which serving recognizes the adapter."""

    messages: list[dict[str, str]]
    answer: str
    """The tuned model's answer."""
    tuned_logprob: float
    """Mean log-probability per token of `answer` under the adapter, scored by prompt log-probabilities."""
    base_logprob: float
    """The same under the base model."""


class Probe(StrictModel):
    """Prompts on which adapter and base differ clearly, with the tolerance measured by scoring them twice."""

    items: list[ProbeItem]
    tolerance: float
    """Largest difference between two scorings of the same answer, with a floor, in nats per token."""


class EvaluateResult(StrictModel):
    """The verdict."""

    stage: Literal["evaluate"] = "evaluate"
    outcome: GateOutcome
    metric: MetricName
    margin: float
    minimum: float
    tuned: dict[MetricName, float]
    tuned_classes: dict[str, float] = {}
    """F1 of each class, where the suite reports macro F1."""
    arms: list[ArmVerdict]
    guardrails: list[GuardrailVerdict]
    questions: int
    groups: int
    resamples: int
    seed: int
    adapter_manifest_digest: Digest
    base_model_digest: Digest
    profile_digest: Digest
    suite_digest: Digest
    answers_digest: Digest
    """OCI digest of everybody's answers, the alternatives' too, in `<repository>/answers` (``tunegate.api.answers``)."""
    probe: Probe
    reasons: list[str]
    """Why the outcome is what it is, one sentence each."""


class HashResult(StrictModel):
    """A base model's manifest and the facts that later estimates need."""

    stage: Literal["hash"] = "hash"
    outcome: Literal["Passed", "Refused"]
    findings: list[Finding] = []
    manifest: Manifest
    manifest_digest: Digest
    bytes: int
    parameters: int
    seconds: float


StageResult = Annotated[
    HashResult | ValidateResult | BaselineResult | TrainResult | SealResult | EvaluateResult,
    Field(discriminator="stage"),
]
STAGE_RESULT: TypeAdapter[StageResult] = TypeAdapter(StageResult)


def without_questions(result: StageResult) -> dict[str, Any]:
    """Return a result for readers who may not see the gate: its probe quotes questions."""
    return {name: value for name, value in result.to_dict().items() if name != "probe"}


class Termination(StrictModel):
    """The pod's last word, at most 4096 bytes: the kubelet keeps it in the pod's status."""

    reason: str
    """A word from ``tunegate.api.reasons.StageReason``."""
    message: str = ""
    result_digest: Digest | None = None
