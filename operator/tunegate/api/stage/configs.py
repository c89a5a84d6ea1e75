"""What a stage is told: the operator writes a ``StageConfig`` to ``CONFIG_PATH`` of the pod.

The digest of the document stands in the pod's own arguments and in the result.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.datachecks import DEFAULTS, CheckSetting
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.spec import Budget, Economics, Intent, Method
from tunegate.api.manifest import Manifest
from tunegate.api.markers import DataClass, Day, Digest, StrictModel
from tunegate.api.modelserver import EngineProfile
from tunegate.api.numbers import PlainDecimal
from tunegate.api.stage.layout import ADAPTER_MOUNT


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
    expiration_date: Day | None = None


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
    asked: bool = False
    """A job was judged by it. If not, and its file is missing or not the frozen one, nobody can be judged by it as it is."""


class AdapterInput(StrictModel):
    """The sealed adapter."""

    repository: str
    digest: Digest
    manifest: Manifest
    manifest_digest: Digest
    path: str = ADAPTER_MOUNT


class LearnedThroughput(StrictModel):
    """What finished trainings on the pool, with the job's method, measured."""

    tokens_per_second: PlainDecimal
    """Of one device, for a model of one billion parameters: the median."""
    runs: int


class StageConfigBase(StrictModel):
    """What every stage is told."""

    job: JobIdentity
    registry: RegistryTarget


class HashConfig(StageConfigBase):
    """Hash a base model for the catalogue."""

    stage: Literal["Hash"] = "Hash"
    path: str
    expected_manifest_digest: Digest | None = None


class ValidateConfig(StageConfigBase):
    """Check the data and estimate the cost, on a CPU."""

    stage: Literal["Validate"] = "Validate"
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

    stage: Literal["Baseline"] = "Baseline"
    documents: DocumentsInput | None = None


class TrainConfig(StageConfigBase):
    """Train the adapter."""

    stage: Literal["Train"] = "Train"
    base_model: BaseModelInput
    dataset: DatasetInput
    method: Method
    pool: ComputePoolSpec


class SealConfig(StageConfigBase):
    """Turn the trained or imported adapter into an OCI artifact."""

    stage: Literal["Seal"] = "Seal"
    source_path: str
    source_digest: Digest
    """Manifest digest of the two files that training wrote, or that validation read of an import."""
    base_model_name: str
    max_lora_rank: int


class EvaluateConfig(EngineConfigBase):
    """Judge the sealed adapter."""

    stage: Literal["Evaluate"] = "Evaluate"
    adapter: AdapterInput
    baseline_result: Digest
    """Result of the baseline stage: scores and answers of the arms."""
    baseline_repository: str
    """Registry prefix below which that result and its answers lie: the job's own, or that of an earlier job."""
    documents_digest: Digest | None = None
    """Of the documents that the arms of that result must have searched."""
    min_margin: str
    """Floor that the approval policy puts under the suite's margin."""


class CheckBaseConfig(StageConfigBase):
    """Hash the base model in full before the engine reads it, and leave a record: init container of pods with an engine."""

    stage: Literal["CheckBase"] = "CheckBase"
    base_model: BaseModelInput


class FetchConfig(StageConfigBase):
    """Pull and verify a sealed adapter into ``adapter.path``: init container of evaluation pods."""

    stage: Literal["Fetch"] = "Fetch"
    adapter: AdapterInput


class DownloadConfig(StageConfigBase):
    """Copy an input from an S3-compatible store into ``path``: init container of pods that read it."""

    stage: Literal["Download"] = "Download"
    bucket: str
    key: str
    """An object, or what all objects of a folder begin with, without a slash at its end."""
    path: str
    """Where the object, or the folder, is to lie."""
    max_bytes: int
    """More than this is refused before a byte is read: the pod's folder has no more room."""
    too_large: str
    """What to do about it."""


class Pull(StrictModel):
    """Something that was pushed, and where it is to lie."""

    uri: str
    """As the job or the suite names it."""
    path: str
    """Where the file, or the folder, is to lie."""
    required: bool = True
    """False: questions of another suite. If they cannot be had, the stage finds no file and says so, and the job goes on."""


class PullDataConfig(StageConfigBase):
    """Copy what was pushed from the registry into folders, each part verified: init container of pods that read it."""

    stage: Literal["PullData"] = "PullData"
    pulls: list[Pull]
    max_bytes: int
    """Of each. More than this is refused before a byte is read: the pod's folder has no more room."""
    too_large: str
    """What to do about it."""


class CopyModelConfig(StageConfigBase):
    """Copy a base model from a Hub mirror into ``path``: init container of pods that read it."""

    stage: Literal["CopyModel"] = "CopyModel"
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
    | CheckBaseConfig
    | FetchConfig
    | DownloadConfig
    | PullDataConfig
    | CopyModelConfig,
    Field(discriminator="stage"),
]
STAGE_CONFIG: TypeAdapter[StageConfig] = TypeAdapter(StageConfig)
