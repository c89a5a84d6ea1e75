"""What the author of a FineTuneJob asks for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunegate.api.datachecks import CheckSettings
from tunegate.api.markers import (
    ApiModel,
    DataClass,
    DataUri,
    Day,
    Digest,
    LongText,
    Quantity,
    ResourceName,
    ShortText,
    Text,
    VolumeUri,
    cel,
    immutable_but,
    later,
    list_map,
    rules,
)
from tunegate.api.numbers import Amount, Fraction
from tunegate.api.shared import Contributor, MethodType, NamedRef, Requester

TaskType = Literal["Style", "Format", "DomainVocabulary", "Classification", "ComplexInstructions"]


STORE_RULE = cel(
    "self.uri.startsWith('s3://') == has(self.secretName)",
    "uri s3://… needs secretName, the Secret that says where the store is and who may read it; pvc://… and oci://… have none",
)


def _pushed_as(kind: str) -> dict[str, str]:
    return cel(
        f"!self.uri.startsWith('oci://') || self.uri.matches('^oci://[^/]+/{kind}/')",
        f"uri oci://… has the form oci://NAMESPACE/{kind}/NAME@sha256:…",
    )


class Dataset(ApiModel):
    """Training data on a labelled claim of the job's namespace, in an S3-compatible store or pushed into the registry: a file or
    a folder of .jsonl, .jsonl.gz, .jsonl.zst, .parquet.

    Rows are written as `messages`, `prompt` and `completion`, Alpaca, ShareGPT or preference pairs; the form is detected.
    """

    model_config = rules(STORE_RULE, _pushed_as("datasets"))

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
    expiration_date: Day | None = None
    """Last day on which the rows may be used; from the next day on no job begins a stage with them. Absent: no such day."""
    group_field: ShortText | None = None
    """Field of a row that names its group: the development split never cuts through a group."""
    checks: CheckSettings = []
    """Checks that this job wants stricter than its namespace's policy does."""


class Intent(ApiModel):
    """Why to tune at all."""

    problem: Literal["Behavior", "Knowledge"] = "Behavior"
    """`Knowledge` is a finding of validation: tuning teaches form, not facts."""
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
    learning_rate: Amount = "0.0002"
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
    """After so many steps there is a checkpoint, and the development rows' loss. A shorter training has three of both."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 17
    num_nodes: Annotated[int, Field(ge=1, le=64)] = 1
    num_proc_per_node: Annotated[int, Field(ge=1, le=16)] = 1
    """Processes (devices) per node."""


class Origin(ApiModel):
    """The job whose spec was taken over, with other settings or without. Nobody proves it: it only leads readers there."""

    name: ResourceName
    uid: Annotated[str, Field(max_length=64, min_length=1)]
    """A job made again under the same name is another job."""


class Budget(ApiModel):
    """What the training may cost; estimates above it are refused before a device is touched."""

    max_device_hours: Amount | None = None
    max_cost: Amount | None = None
    """In the currency of the pool."""


class Economics(ApiModel):
    """What the tuned model is to replace, in the pool's currency: it says when tuning has paid for itself."""

    replaced_price_per_thousand_tokens: Amount
    """What is paid today, e.g. for a hosted model."""
    own_price_per_thousand_tokens: Amount
    """What serving the tuned model costs."""
    monthly_tokens: Annotated[int, Field(ge=1, le=1_000_000_000_000_000)]


class AdapterImport(ApiModel):
    """An adapter that was tuned elsewhere."""

    uri: VolumeUri
    """Folder with `adapter_config.json` and `adapter_model.safetensors`."""


class Documents(ApiModel):
    """Text on a labelled claim of the job's namespace, in an S3-compatible store or pushed into the registry: a file or a folder
    of .md, .markdown, .txt.

    At most 2,000 files with 32 MiB in all.
    """

    model_config = rules(STORE_RULE, _pushed_as("documents"))

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
    """How often a stage may be tried again, and how long an attempt may take."""

    max_disruptions: Annotated[int, Field(ge=0, le=100)] = 10
    """Attempts lost to eviction, node loss, deletion, or something that was away."""
    max_errors: Annotated[int, Field(ge=0, le=10)] = 2
    """Attempts lost to errors, full storage or standstill."""
    max_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """Longest time that a stage may run in one attempt; a longer one ends the job. Absent: no limit."""
    max_seconds_without_progress: Annotated[int, Field(ge=60, le=31_536_000)] = later(7200)
    """After so long without progress the attempt is ended, and the stage tried again."""


MUTABLE = ("suspend", "ttlSecondsAfterFinished")
"""Fields of the spec that may change. The chart's rule `tunegate-immutable` names the same."""


class FineTuneJobSpec(ApiModel):
    """A job. Only `suspend` and `ttlSecondsAfterFinished` may change."""

    model_config = immutable_but(
        MUTABLE,
        "FineTuneJob",
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
    """The caller; `tunegate create job` fills it in."""
    contributors: Annotated[list[Contributor], Field(max_length=32, json_schema_extra=list_map("username"))] = []
    """Who prepared the data, wrote the suite or chose the settings: like the requester, none of them may approve the
    release or waive a finding."""
    derived_from: Origin | None = None
    """The job that this one repeats: `tunegate retry` and `tunegate clone` fill it in."""
    server_ref: NamedRef
    """ModelServer of this namespace that will serve the result: it gives base model and engine profile."""
    pool_ref: NamedRef | None = None
    """Pool to train on; absent: the server's."""
    suite_ref: NamedRef
    """EvaluationSuite of this namespace that judges the result."""
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
