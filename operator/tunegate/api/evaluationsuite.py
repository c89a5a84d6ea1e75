"""EvaluationSuite: frozen questions, the metric that decides, and what tuning has to beat."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.asked import JsonSchemaText
from tunegate.api.markers import (
    LIST_SET,
    ApiModel,
    Column,
    Digest,
    Kind,
    Names,
    QuestionsUri,
    Resource,
    ShortText,
    cel,
    immutable,
    later,
    list_map,
    reason_column,
    rules,
)
from tunegate.api.numbers import Fraction
from tunegate.api.shared import StatusBase, SuiteTries

MetricName = Literal["ExactMatch", "MacroF1", "SchemaValidity", "RougeL", "Bleu"]
ArmName = Literal[
    "BasePlain", "BaseFewShot", "BasePlainGuided", "BaseFewShotGuided", "BaseRetrievedShots", "BaseRetrievedShotsGuided",
    "BaseAuthorPrompt", "BaseAuthorPromptGuided", "BaseRetrieval", "BaseRetrievalGuided", "NearestNeighbor", "Regex",
    "Classifier",
]  # fmt: skip
"""Who answers the questions beside the tuned model."""
LongPattern = Annotated[str, Field(max_length=2048)]


class SuiteData(ApiModel):
    """The gate's questions: chat JSONL, the last assistant turn is the expected answer."""

    uri: QuestionsUri
    digest: Digest
    """SHA-256 of the file; stages refuse any other content."""
    group_field: ShortText | None = None
    """Field of a row that names its group (document, author): the bootstrap resamples groups."""


class SuiteTask(ApiModel):
    """What kind of answer is expected."""

    model_config = rules(
        cel(
            "(self.type == 'Classification') == (size(self.labels) > 0)",
            "labels are required for type Classification and not allowed for others",
        ),
        cel(
            "self.decoding != 'Guided' || has(self.jsonSchema)",
            "decoding: Guided needs jsonSchema: the form that answers keep to",
        ),
    )

    type: Literal["Extraction", "Classification", "Generation"]
    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 128
    """Longest answer in tokens."""
    json_schema: JsonSchemaText | None = None
    """JSON Schema of the answer, as text; enables the guided arms and SchemaValidity."""
    decoding: Literal["Free", "Guided"] = later("Free")
    """How the tuned model is asked, by the gate and by default in serving. `Guided`: its answers keep to jsonSchema. The base model
    is asked both ways."""
    labels: Annotated[list[ShortText], Field(max_length=100, json_schema_extra=LIST_SET)] = []


class FewShot(ApiModel):
    """Prompting as the cheap alternative: examples from the training data in front of the question."""

    shots: Annotated[int, Field(ge=1, le=16)] = 5
    system_prompt: Annotated[str, Field(max_length=8192)] | None = None
    """The author's best instruction; absent: the row's own system turn."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 17


class Baselines(ApiModel):
    """Cheap alternatives beside the base model's plain and few-shot answers; all but the first need no language model."""

    retrieved_shots: bool = False
    """Few-shot with the training rows that are most similar to each question (BM25) in place of the same for all. Takes the
    engine as long as few-shot does."""

    nearest_neighbor: bool = True
    """Answer of the most similar training row (BM25)."""
    regex: LongPattern | None = None
    """RE2-compatible Python pattern whose named groups fill `regexTemplate`."""
    regex_template: LongPattern | None = None
    """Answer made of the named groups, in `str.format` syntax with doubled braces for JSON."""
    classifier: bool = False
    """TF-IDF with logistic regression; for type Classification."""


class PrimaryMetric(ApiModel):
    """The one number that decides."""

    name: MetricName
    margin: Fraction = "0.05"
    """The tuned model must be better than each arm by at least this."""
    minimum: Fraction = "0"
    """Absolute value that the tuned model must reach."""


class Guardrail(ApiModel):
    """A metric on which the tuned model may not be worse than the best base arm by more than `tolerance`."""

    name: MetricName
    tolerance: Fraction = "0.02"


class EvaluationSuiteSpec(ApiModel):
    """A frozen suite."""

    model_config = rules(
        immutable("An EvaluationSuite"),
        cel(
            "has(self.baselines.regex) == has(self.baselines.regexTemplate)",
            "baselines.regex and baselines.regexTemplate belong together",
        ),
        cel(
            "!self.baselines.classifier || self.task.type == 'Classification'",
            "baselines.classifier needs task.type Classification",
        ),
        cel(
            "has(self.task.jsonSchema) || "
            "(self.primaryMetric.name != 'SchemaValidity' && self.guardrails.all(guard, guard.name != 'SchemaValidity'))",
            "SchemaValidity, as primaryMetric or in guardrails, needs task.jsonSchema",
        ),
        cel(
            "self.task.type == 'Classification' || "
            "(self.primaryMetric.name != 'MacroF1' && self.guardrails.all(guard, guard.name != 'MacroF1'))",
            "MacroF1, as primaryMetric or in guardrails, needs task.type Classification with task.labels",
        ),
        cel(
            "!self.data.uri.matches('^[a-z0-9]+://[^/]+/(.*/)?[.]{0,2}(/|$)|[.](json|csv|tsv|txt|xlsx|ya?ml)$')",
            "data.uri names a file of rows (.jsonl, .jsonl.gz, .jsonl.zst or .parquet) or a folder of them, without empty parts, . or ..",
        ),
    )

    data: SuiteData
    task: SuiteTask
    primary_metric: PrimaryMetric
    guardrails: Annotated[list[Guardrail], Field(max_length=5, json_schema_extra=list_map("name"))] = []
    few_shot: FewShot = FewShot()
    baselines: Baselines = Baselines()
    quality_bar: Fraction = "0.8"
    """If prompting reaches this on the primary metric, tuning is not needed and the job ends before training."""
    resamples: Annotated[int, Field(ge=1000, le=100_000)] = 10_000
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 17


class EvaluationSuiteStatus(StatusBase):
    """How often its questions were tried, by the ledger: many tries against one set make a lucky pass likely."""

    digest: Digest | None = None
    tries: SuiteTries = SuiteTries()


class EvaluationSuite(Resource):
    """Questions and rules that decide whether tuning earned its place."""

    KIND: ClassVar[Kind] = Kind(
        "EvaluationSuite",
        "evaluationsuites",
        ("esuite",),
        "Namespaced",
        (
            Column("Task", ".spec.task.type"),
            Column("Metric", ".spec.primaryMetric.name"),
            Column("Margin", ".spec.primaryMetric.margin"),
            Column("Tries", ".status.tries.total", "integer"),
            reason_column("Ready"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("is the name of files in stage pods and stands in release statements"),
    )

    spec: EvaluationSuiteSpec
    status: EvaluationSuiteStatus = EvaluationSuiteStatus()


def unanswered(arm: ArmName, answered: int | None, questions: int) -> str | None:
    """Return on how few questions an alternative had an answer at all: `matched 0 of 80`; None: on all, or nobody counted.

    To beat an alternative that answers nothing says nothing: its score must not look like that of a beaten rival.
    """
    if answered is None or answered >= questions:
        return None
    return f"{'matched' if arm == 'Regex' else 'answered'} {answered} of {questions}"


def told_outcome(arm: ArmName, outcome: str, answered: int | None, questions: int) -> str:
    """Return the outcome against an alternative, and on how few questions it had an answer: `Pass, matched 60 of 80`."""
    silent = unanswered(arm, answered, questions)
    if silent is None:
        return outcome
    return f"{outcome}, {silent}" if answered else f"says nothing: {silent}"
