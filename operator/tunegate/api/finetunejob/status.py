"""What is known of a FineTuneJob: its stages, its estimates and its verdict."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunegate.api.approval import Tally
from tunegate.api.approvalpolicy import IdentityRule, WaivableFinding, WaiverRule
from tunegate.api.asked import AskedAs
from tunegate.api.evaluationsuite import ArmName, MetricName
from tunegate.api.markers import ApiModel, Digest, ResourceName, ShortText, Text, Time, list_map
from tunegate.api.numbers import PlainDecimal
from tunegate.api.shared import StatusBase, SuiteTries

JobPhase = Literal[
    "Pending", "Validating", "Baselining", "Queued", "Training", "Sealing", "Evaluating", "Succeeded", "Failed",
    "Suspended", "PendingWaiver",
]  # fmt: skip
ENDED: tuple[JobPhase, ...] = ("Succeeded", "Failed")
"""Phases of a job that is over."""
StageName = Literal["Validate", "Baseline", "Train", "Seal", "Evaluate"]
GateOutcome = Literal["Pass", "Fail", "Inconclusive"]


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
    config_digest: Digest | None = None
    """Of the configuration that the attempt was given: its result has to name the same."""
    result_digest: Digest | None = None
    """OCI digest of the result document."""
    inputs: Digest | None = None
    """Stage `Baseline`: digest of everything that its answers depend on."""
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
    """Estimated at validation, before a device is touched."""

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
    """Training tokens per second of one device for a billion parameters, by which device hours were estimated; absent:
    nothing is trained."""
    throughput_runs: int = 0
    """Finished trainings on the pool that measured it; 0: it is `throughput` of the pool's spec."""
    smallest_visible_gain: ShortText
    """Difference on the primary metric that the suite can show with 80 % power."""


class PoolTerms(ApiModel):
    """Where a job trains, at the price of the moment when its latest attempt was made."""

    name: ResourceName
    price_per_device_hour: PlainDecimal
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


class UnusableSuiteStatus(ApiModel):
    """A suite of the namespace by which nobody can be judged as it is; its own status says so."""

    name: ResourceName
    digest: Digest
    problem: Annotated[str, Field(max_length=512)]


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
    answered: int | None = None
    """Questions to which it gave an answer that is not empty; fewer than the gate's `questions`: to beat it says less."""
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
    asked_as: AskedAs | None = None
    """How the tuned model was asked, with temperature 0: what the gateway takes where a client does not say otherwise."""


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
    unusable_suites: Annotated[list[UnusableSuiteStatus], Field(max_length=32, json_schema_extra=list_map("name"))] = []
    """Other suites whose questions validation found missing, broken or not the frozen ones."""
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
        return self.phase in ENDED

    def stage(self, name: StageName) -> StageStatus:
        """Return what is known of a stage; of one that the status does not name yet, that it waits."""
        return next((stage for stage in self.stages if stage.name == name), StageStatus(name=name))
