"""What a stage found: it pushes its ``StageResult`` to the registry.

Every result names the configuration that the stage was given and what the stage really read (``StageInputs``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from tunegate.api.asked import AskedAs
from tunegate.api.datachecks import CheckSetting
from tunegate.api.evaluationsuite import ArmName, MetricName
from tunegate.api.finetunejob.status import GateOutcome
from tunegate.api.manifest import Manifest
from tunegate.api.markers import Digest, StrictModel
from tunegate.api.stage.findings import ComparedSuite, Finding, RedactedData, UnusableSuite
from tunegate.api.stage.probe import Probe

RUNS = (2, 3)
"""Times that a training is usually run until it is good: the cost of one run is not the cost of the result."""


class Savings(StrictModel):
    """What the tuned model saves, in the pool's currency, and when it has paid for its training."""

    monthly: float
    break_even_months: tuple[float, float] | None
    """For two and for three runs; None: never, since serving it costs as much as what it replaces, or more."""


class StageInputs(StrictModel):
    """What a stage really read, by digest: calculated from the bytes that it used, never copied from its configuration."""

    base_model: Digest | None = None
    """Of the manifest of the model's files, each hashed in full."""
    profile: Digest | None = None
    dataset: Digest | None = None
    suite: Digest | None = None
    """SHA-256 of the RFC 8785 JSON of the suite's spec, with the digest of the questions that were read in it."""
    documents: Digest | None = None
    adapter: Digest | None = None
    """Manifest digest of the adapter's files."""
    baseline_result: Digest | None = None


class StageResultBase(StrictModel):
    """What every result names, put there by the entry point alike for all stages."""

    config_digest: Digest | None = None
    """Of the configuration document that the stage read; None: it ran in no pod, as in `tunegate plan`."""
    inputs: StageInputs = StageInputs()


class ValidateResult(StageResultBase):
    """Facts about the data and the cost."""

    stage: Literal["Validate"] = "Validate"
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
    dataset_files: int | None = None
    """Files that the rows were read from, of the source."""
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
    unusable_suites: list[UnusableSuite] = []
    """Suites of the namespace by which nobody can be judged as they are: no finding of the job's, but of theirs."""
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
    """Tokens per second of one device for a billion parameters, by which the hours were estimated; None: an import."""
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
    answered: int
    """Questions to which it gave an answer that is not empty: for Regex, those that the pattern matches."""
    seconds: float


class BaselineResult(StageResultBase):
    """What the cheap alternatives reach."""

    stage: Literal["Baseline"] = "Baseline"
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


class TrainResult(StageResultBase):
    """What training did."""

    stage: Literal["Train"] = "Train"
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
    foreign_checkpoints: int = 0
    """Checkpoints in the workspace that do not carry the job's key; they were put aside and not read."""
    world_size: int
    adapter_digest: Digest | None = None
    """Manifest digest of the adapter's two files as they were written; None: there is none, since training diverged."""
    hyperparameters: dict[str, str]
    libraries: dict[str, str]
    hardware: dict[str, str] = {}
    """Devices of the first node, their driver and its CUDA; empty where it trained on CPU."""


class SealResult(StageResultBase):
    """The sealed adapter."""

    stage: Literal["Seal"] = "Seal"
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
    answered: int
    """As in ``ArmResult``."""
    scores: dict[MetricName, float] = {}
    """All metrics of the arm, for people."""


class GuardrailVerdict(StrictModel):
    """A metric that may not get worse than the best base arm by more than its tolerance."""

    name: MetricName
    tuned: float
    base: float
    lower: float
    held: bool


class EvaluateResult(StageResultBase):
    """The verdict."""

    stage: Literal["Evaluate"] = "Evaluate"
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
    asked_as: AskedAs | None = None
    """How the tuned model was asked; None: by a version that did not say it."""
    reasons: list[str]
    """Why the outcome is what it is, one sentence each."""


class HashResult(StageResultBase):
    """A base model's manifest and the facts that later estimates need."""

    stage: Literal["Hash"] = "Hash"
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
