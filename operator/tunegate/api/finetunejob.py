"""FineTuneJob: data in, judged adapter out."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.approval import Tally
from tunegate.api.approvalpolicy import IdentityRule, WaivableFinding, WaiverRule
from tunegate.api.datachecks import CheckSettings
from tunegate.api.evaluationsuite import ArmName, MetricName
from tunegate.api.markers import (
    ApiModel,
    Column,
    DataClass,
    DataUri,
    Day,
    Decimal,
    Digest,
    Fraction,
    Kind,
    LongText,
    Quantity,
    Resource,
    ResourceName,
    ShortText,
    Text,
    Time,
    VolumeUri,
    cel,
    list_map,
    rules,
)
from tunegate.api.shared import Contributor, MethodType, Requester, StatusBase, SuiteTries

JobPhase = Literal[
    "Pending", "Validating", "Baselining", "Queued", "Training", "Sealing", "Evaluating", "Succeeded", "Failed",
    "Suspended", "PendingWaiver",
]  # fmt: skip
StageName = Literal["validate", "baseline", "train", "seal", "evaluate"]
TaskType = Literal["Style", "Format", "DomainVocabulary", "Classification", "ComplexInstructions"]
GateOutcome = Literal["Pass", "Fail", "Inconclusive"]


STORE_RULE = cel(
    "self.uri.startsWith('s3://') == has(self.secretName)",
    "uri s3://… needs secretName, the Secret that says where the store is and who may read it; pvc://… has none",
)


class Dataset(ApiModel):
    """Training data on a labelled claim of the job's namespace or in an S3-compatible store: a file or a folder of .jsonl,
    .jsonl.gz, .jsonl.zst, .parquet.

    Rows are written as `messages`, `prompt` and `completion`, Alpaca, ShareGPT or preference pairs; the form is detected.
    """

    model_config = rules(STORE_RULE)

    uri: DataUri
    secret_name: ResourceName | None = None
    """Labelled Secret of the job's namespace for `s3://`: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    perhaps `AWS_SESSION_TOKEN`, `AWS_REGION` and `ca.crt`."""
    digest: Digest | None = None
    """SHA-256 of the file, or of a folder's manifest; absent: the one found at validation is recorded."""
    classification: DataClass
    license: ShortText
    """SPDX expression or the name of the contract."""
    source: Text
    """Where the rows came from."""
    steward: ShortText = ""
    """Who answers for them."""
    retain_until: Day | None = None
    """Last day on which the rows may be used; from the next day on no job begins a stage with them. Absent: no such day."""
    group_field: ShortText | None = None
    """Field of a row that names its group: the development split never cuts through a group."""
    checks: CheckSettings = []
    """Checks that this job wants stricter than its namespace's policy does."""


class Intent(ApiModel):
    """Why to tune at all."""

    problem: Literal["Behavior", "Knowledge"] = "Behavior"
    """`Knowledge` is a finding of validation: tuning teaches form, not facts."""
    goal: Literal["Quality"] = "Quality"
    task_type: TaskType
    """Sets how many examples are the least that can work."""


class Method(ApiModel):
    """How the adapter is trained. The defaults are those of the QLoRA and LoRA papers and of current practice."""

    type: MethodType
    """`QLoRA` holds the base in NF4 with double quantization (arXiv 2305.14314); `LoRA` in bfloat16 or float32."""
    rank: Annotated[int, Field(ge=1, le=256)] = 16
    alpha: Annotated[int, Field(ge=1, le=512)] = 32
    dropout: Fraction = "0.05"
    target_modules: Literal["Attention", "AllLinear"] = "AllLinear"
    learning_rate: Decimal = "2e-4"
    epochs: Annotated[int, Field(ge=1, le=20)] = 3
    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Stop after so many optimizer steps even if epochs are left."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 8
    """Sequences per device and step."""
    gradient_accumulation: Annotated[int, Field(ge=1, le=256)] = 1
    max_length: Annotated[int, Field(ge=32, le=1_000_000)] = 1024
    """Longest sequence in tokens; longer rows are reported by validation."""
    warmup_ratio: Fraction = "0.03"
    development_fraction: Fraction = "0.1"
    """Share of the groups kept from training to choose the best checkpoint."""
    checkpoint_steps: Annotated[int, Field(ge=1, le=100_000)] = 50
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 17
    num_nodes: Annotated[int, Field(ge=1, le=64)] = 1
    num_proc_per_node: Annotated[int, Field(ge=1, le=16)] = 1
    """Processes (devices) per node."""


class Budget(ApiModel):
    """What the training may cost; estimates above it are refused before a device is touched."""

    max_device_hours: Decimal | None = None
    max_cost: Decimal | None = None
    """In the currency of the pool."""


class Economics(ApiModel):
    """What the tuned model is to replace, in the pool's currency: it says when tuning has paid for itself."""

    replaced_price_per_thousand_tokens: Decimal
    """What is paid today, e.g. for a hosted model."""
    own_price_per_thousand_tokens: Decimal
    """What serving the tuned model costs."""
    monthly_tokens: Annotated[int, Field(ge=1, le=1_000_000_000_000_000)]


class AdapterImport(ApiModel):
    """An adapter that was tuned elsewhere."""

    uri: VolumeUri
    """Folder with `adapter_config.json` and `adapter_model.safetensors`."""


class Documents(ApiModel):
    """Text on a labelled claim of the job's namespace or in an S3-compatible store: a file or a folder of .md, .markdown, .txt.

    At most 2,000 files with 32 MiB in all.
    """

    model_config = rules(STORE_RULE)

    uri: DataUri
    secret_name: ResourceName | None = None
    """Labelled Secret of the job's namespace for `s3://`, with the keys that `dataset.secretName` has."""
    digest: Digest | None = None
    """SHA-256 of the file, or of a folder's manifest; absent: the one found at validation is recorded."""


class Baseline(ApiModel):
    """What the author has tried without tuning."""

    prompt: LongText | None = None
    """The best instruction so far. The base model is asked with it as well, and tuning has to beat that."""
    documents: Documents | None = None
    """The base model is also asked with passages of these, found for each question (BM25): what retrieval reaches."""
    reuse: bool = True
    """Take over what an earlier job of this namespace measured with the same data, base model, suite and profile."""


class Workspace(ApiModel):
    """The job's own volume for checkpoints and, where a check redacts, the redacted data."""

    size: Quantity = "5Gi"
    storage_class_name: ShortText | None = None


class Limits(ApiModel):
    """How often a stage may be tried again."""

    max_disruptions: Annotated[int, Field(ge=0, le=100)] = 10
    """Attempts lost to eviction, node loss or deletion."""
    max_errors: Annotated[int, Field(ge=0, le=10)] = 2
    """Attempts lost to unknown errors."""


class FineTuneJobSpec(ApiModel):
    """A job. Only `suspend` and `ttlSecondsAfterFinished` may change."""

    model_config = rules(
        cel(
            "self.requestedBy == oldSelf.requestedBy && self.serverRef == oldSelf.serverRef "
            "&& self.suiteRef == oldSelf.suiteRef && self.dataset == oldSelf.dataset "
            "&& self.source == oldSelf.source && self.intent == oldSelf.intent && self.limits == oldSelf.limits "
            "&& self.onPromptingSuffices == oldSelf.onPromptingSuffices && self.workspace == oldSelf.workspace "
            "&& self.budget == oldSelf.budget && self.baseline == oldSelf.baseline "
            "&& self.contributors == oldSelf.contributors "
            "&& has(self.method) == has(oldSelf.method) && (!has(self.method) || self.method == oldSelf.method) "
            "&& has(self.economics) == has(oldSelf.economics) "
            "&& (!has(self.economics) || self.economics == oldSelf.economics) "
            "&& has(self.poolRef) == has(oldSelf.poolRef) && (!has(self.poolRef) || self.poolRef == oldSelf.poolRef) "
            "&& has(self.adapter) == has(oldSelf.adapter) && (!has(self.adapter) || self.adapter == oldSelf.adapter)",
            "only suspend and ttlSecondsAfterFinished can change: create a new FineTuneJob instead",
        ),
        cel(
            "(self.source == 'Train') == has(self.method) && (self.source == 'Import') == has(self.adapter)",
            "source Train needs method and no adapter; source Import needs adapter and no method",
        ),
        cel(
            "self.source == 'Train' || !has(self.economics)",
            "economics is for source Train: what an imported adapter has cost is not known here",
        ),
    )

    requested_by: Requester
    """The caller; `tunegate submit` fills it in."""
    contributors: Annotated[list[Contributor], Field(max_length=32, json_schema_extra=list_map("username"))] = []
    """Who prepared the data, wrote the suite or chose the settings: like the requester, none of them may approve the
    release or waive a finding."""
    server_ref: ResourceName
    """ModelServer of this namespace that will serve the result: it gives base model and engine profile."""
    pool_ref: ResourceName | None = None
    """Pool to train on; absent: the server's."""
    suite_ref: ResourceName
    dataset: Dataset
    intent: Intent
    source: Literal["Train", "Import"] = "Train"
    method: Method | None = None
    adapter: AdapterImport | None = None
    baseline: Baseline = Baseline()
    on_prompting_suffices: Literal["Stop", "Continue"] = "Stop"
    """What to do when the base model reaches the suite's quality bar by prompting alone."""
    budget: Budget = Budget()
    economics: Economics | None = None
    limits: Limits = Limits()
    workspace: Workspace = Workspace()
    suspend: bool = False
    """Stop the running attempt and wait; training goes on from its last checkpoint."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = None
    """Free the workspace so long after the end; absent: when the job is deleted."""


class RunImage(ApiModel):
    """An image that a container of a stage ran."""

    container: ShortText
    image: Annotated[str, Field(max_length=1024)]
    """As it was asked for."""
    digest: Digest
    """By which the node names it: of its OCI manifest or, where it was loaded by hand, of its configuration."""

    @property
    def reference(self) -> str:
        """Both in one text."""
        return self.image if self.image.endswith(self.digest) else f"{self.image} ({self.digest})"


class StageStatus(ApiModel):
    """One stage: its attempts and how it ended."""

    name: StageName
    state: Literal["Waiting", "Running", "Done", "Refused", "Failed"] = "Waiting"
    attempt: int = 0
    """Number of the current or last attempt, from 1."""
    job_name: ShortText | None = None
    """batch/v1 Job of that attempt."""
    disruptions: int = 0
    errors: int = 0
    start_time: Time | None = None
    completion_time: Time | None = None
    result_digest: Digest | None = None
    """OCI digest of the result document."""
    inputs: Digest | None = None
    """Stage baseline: digest of everything that its answers depend on."""
    repository: Annotated[str, Field(max_length=255)] | None = None
    """Where result and answers lie, when they were taken over from another job."""
    images: Annotated[list[RunImage], Field(max_length=16, json_schema_extra=list_map("container", "digest"))] = []
    """What the attempt ran with that gave the result."""
    reason: ShortText | None = None
    message: Text | None = None


class Progress(ApiModel):
    """How far the running stage is."""

    percent: int = 0
    step: int = 0
    total_steps: int = 0
    loss: ShortText | None = None
    remaining_seconds: int | None = None


class EstimatedSavings(ApiModel):
    """By `spec.economics`."""

    monthly: ShortText
    """In the pool's currency; negative where the own price is the higher one."""
    break_even_months: ShortText
    """Until two and until three runs are paid, as "1.2 to 1.8"; or "never"."""


class Estimates(ApiModel):
    """Reckoned at validation, before a device is touched."""

    trainable_parameters: int
    adapter_bytes: int
    peak_memory_bytes: int
    device_hours: ShortText
    cost: ShortText
    """Of one run."""
    currency: ShortText
    cost_of_two_runs: ShortText | None = None
    """Few trainings are good at the first try: two to three runs are usual. Absent: nothing is trained."""
    cost_of_three_runs: ShortText | None = None
    savings: EstimatedSavings | None = None
    throughput: ShortText | None = None
    """Training tokens per second of one device for a billion parameters, by which device hours were reckoned; absent:
    nothing is trained."""
    throughput_runs: int = 0
    """Finished trainings on the pool that measured it; 0: it is `throughput` of the pool's spec."""
    smallest_visible_gain: ShortText
    """Difference on the primary metric that the suite can show with 80 % power."""


class PoolTerms(ApiModel):
    """Where a job trains, at the price of the moment when its latest attempt was made."""

    name: ResourceName
    price_per_device_hour: Decimal
    currency: ShortText


class DatasetStatus(ApiModel):
    """What validation found in the data."""

    digest: Digest
    """Of the source."""
    redacted_digest: Digest | None = None
    """Of the redacted copy in the workspace, which all later stages read; absent: they read the source."""
    statement_digest: Digest | None = None
    """OCI digest of the data statement in the job's results."""
    rows: int
    tokens: int
    duplicates: int
    near_duplicates: int | None = None
    """Absent: not looked for."""
    overlap_rows: int | None = None
    """Absent: not looked for."""
    development_rows: int


class WaiverFinding(ApiModel):
    """What validation found, summed over the findings of one check."""

    check: WaivableFinding
    count: int
    message: Text
    """With the first places of rows, never with their text."""


class JobWaiver(Tally):
    """Findings that block the job unless people answer for them."""

    digest: Digest
    """What approvals must name: the job's spec, the data, these findings and the policy's rules for them."""
    findings: Annotated[list[WaiverFinding], Field(max_length=32, json_schema_extra=list_map("check"))]
    rules: Annotated[list[WaiverRule], Field(max_length=8, json_schema_extra=list_map("name"))]
    """Those of the policy that the findings call for; each must be satisfied."""
    identity: IdentityRule | None = None
    """The policy's rule for who may be counted."""
    granted_time: Time | None = None
    """When the job went on; from then on nothing here changes."""


class AdapterStatus(ApiModel):
    """The sealed adapter."""

    repository: Annotated[str, Field(max_length=255)]
    digest: Digest
    """OCI manifest digest."""
    manifest_digest: Digest
    """SHA-256 of the RFC 8785 JSON of the file list: what a release names."""
    bytes: int
    rank: int


class MetricScore(ApiModel):
    """One metric over the whole suite."""

    name: MetricName
    score: ShortText
    """A fraction between 0 and 1."""


Metrics = Annotated[list[MetricScore], Field(max_length=5, json_schema_extra=list_map("name"))]


class ArmScore(ApiModel):
    """The tuned model against one alternative, on the primary metric."""

    name: ArmName
    score: ShortText
    difference: ShortText
    lower: ShortText
    """Lower end of the 95 % interval of the paired bootstrap."""
    upper: ShortText
    outcome: GateOutcome
    metrics: Metrics = []
    """All metrics of the arm; only the primary one decides."""


class GuardrailScore(ApiModel):
    """A metric that may not get worse."""

    name: MetricName
    tuned: ShortText
    base: ShortText
    held: bool


class Gate(ApiModel):
    """The verdict of the evaluation."""

    outcome: GateOutcome
    metric: MetricName
    tuned: ShortText
    questions: int
    adapter_digest: Digest
    """Manifest digest of the sealed adapter that was evaluated."""
    metrics: Metrics = []
    """All metrics of the tuned model."""
    arms: Annotated[list[ArmScore], Field(max_length=12, json_schema_extra=list_map("name"))] = []
    guardrails: Annotated[list[GuardrailScore], Field(max_length=5, json_schema_extra=list_map("name"))] = []


class FineTuneJobStatus(StatusBase):
    """The story of the job."""

    phase: JobPhase = "Pending"
    stages: Annotated[list[StageStatus], Field(max_length=5, json_schema_extra=list_map("name"))] = []
    progress: Progress | None = None
    estimates: Estimates | None = None
    dataset: DatasetStatus | None = None
    waiver: JobWaiver | None = None
    """Present when validation refused the job and the policy lets people waive what it found."""
    base_model_digest: Digest | None = None
    profile_digest: Digest | None = None
    suite_digest: Digest | None = None
    suite_data_digest: Digest | None = None
    """Of the suite's questions."""
    suite_sketch: Annotated[str, Field(max_length=1024)] | None = None
    """By which other suites are recognized that ask the same (`tunegate.sketch`)."""
    suite_tries: SuiteTries | None = None
    """Tries on these questions by the end of the job, this one included; absent: it did not come to one."""
    documents_digest: Digest | None = None
    """Of `baseline.documents`, as validation found them; the baseline refuses others."""
    adapter: AdapterStatus | None = None
    gate: Gate | None = None
    mlflow_run_id: ShortText | None = None
    pool: PoolTerms | None = None
    device_hours: ShortText | None = None
    """What training really used, lost attempts included; `estimates.deviceHours` is what was expected."""
    cost: ShortText | None = None
    """Of these hours, in `pool.currency`."""
    throughput: ShortText | None = None
    """What this training measured, in the unit of `estimates.throughput`; absent: it was not trained in one piece."""
    completion_time: Time | None = None

    @property
    def ended(self) -> bool:
        """Whether the job is over."""
        return self.phase in ("Succeeded", "Failed")

    def stage(self, name: StageName) -> StageStatus:
        """Return what is known of a stage; of one that the status does not name yet, that it waits."""
        return next((stage for stage in self.stages if stage.name == name), StageStatus(name=name))


class FineTuneJob(Resource):
    """One try at tuning, from data to verdict."""

    model_config = rules(cel("self.metadata.name.size() <= 40", "metadata.name may have at most 40 characters"))
    KIND: ClassVar[Kind] = Kind(
        "FineTuneJob",
        "finetunejobs",
        ("ftj",),
        "Namespaced",
        (
            Column("Phase", ".status.phase"),
            Column("Progress", ".status.progress.percent", "integer"),
            Column("Gate", ".status.gate.outcome"),
            Column("Score", ".status.gate.tuned"),
            Column("Server", ".spec.serverRef", wide=True),
            Column("Estimated Hours", ".status.estimates.deviceHours", wide=True),
            Column("Hours", ".status.deviceHours", wide=True),
            Column("Message", ".status.message", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: FineTuneJobSpec
    status: FineTuneJobStatus = FineTuneJobStatus()
