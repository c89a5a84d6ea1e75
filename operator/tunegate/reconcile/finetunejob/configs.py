"""The configuration document and the objects of an attempt, from inputs that are all there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.api.datachecks import CheckSetting, effective
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.markers import MANAGED_BY_LABEL
from tunegate.api.shared import Resources
from tunegate.api.stage.configs import (
    AdapterInput,
    BaselineConfig,
    BaseModelInput,
    CheckBaseConfig,
    DataOrigin,
    DatasetInput,
    DocumentsInput,
    EvaluateConfig,
    FetchConfig,
    JobIdentity,
    RegistryTarget,
    SealConfig,
    StageConfigBase,
    SuiteInput,
    TrainConfig,
    ValidateConfig,
)
from tunegate.api.stage.layout import (
    BASE_MODEL_MOUNT,
    DATASET_MOUNT,
    DOCUMENTS_MOUNT,
    IMPORT_MOUNT,
    REDACTED_FILE,
    SUITE_MOUNT,
    TRAINED_ADAPTER,
    WORKSPACE_MOUNT,
)
from tunegate.api.stage.results import SealResult
from tunegate.errors import Transient
from tunegate.manifests.pods import at_most
from tunegate.manifests.sources import ClaimMount, ClaimPath
from tunegate.manifests.stage_job import Engine, StageJob, stage_objects
from tunegate.manifests.workspace import checkpoint_secret, workspace_claim
from tunegate.reconcile.finetunejob.comparison import unsealed_adapter
from tunegate.reconcile.finetunejob.downloads import downloads, questions_path, reads_documents, reads_source
from tunegate.reconcile.finetunejob.inputs import Inputs, engine_spec
from tunegate.reconcile.finetunejob.observed import Observed, StageSettings
from tunegate.reconcile.naming import (
    CA_CONFIG_MAP,
    JOB_LABEL,
    JOB_UID_LABEL,
    MANAGED_BY,
    STAGE_SERVICE_ACCOUNT,
    attempt_job_name,
    checkpoint_secret_name,
    job_labels,
    job_repository,
    owner_reference,
    registry_secret_name,
    stage_repository,
    workspace_claim_name,
)
from tunegate.reconcile.throughputs import learned

JUDGE = Resources(cpu="500m", memory="4Gi")
"""Largest request of the container that asks the engine and counts: the engine beside it does the heavy work."""


def owner_of(job: FineTuneJob) -> dict[str, Any]:
    """Return the controller reference to the job."""
    return owner_reference({"apiVersion": job.api_version, "kind": job.kind, "metadata": job.metadata})


def common_labels(job: FineTuneJob) -> dict[str, str]:
    """Return the labels of what belongs to the job and to no attempt."""
    return {MANAGED_BY_LABEL: MANAGED_BY, JOB_LABEL: job.name, JOB_UID_LABEL: job.uid}


def attempt_objects(
    seen: Observed, inputs: Inputs, settings: StageSettings, stage: StageName, number: int
) -> list[dict[str, Any]]:
    """Return what has to be created for an attempt, in order. Raises ``Transient`` while an earlier result is missing."""
    job = seen.job
    objects = []
    workspace = workspace_claim_name(job.name, job.uid)
    if _uses_workspace(job, inputs, stage):
        # Also where it is there already: creating it then means comparing it.
        nodes = job.spec.method.num_nodes if job.spec.method else 1
        objects.append(
            workspace_claim(
                workspace,
                job.namespace,
                workspace=job.spec.workspace,
                shared=nodes > 1,
                labels=common_labels(job),
                owner=owner_of(job),
            )
        )
    if stage == "Train" and seen.checkpoint_secret is None:
        objects.append(
            checkpoint_secret(
                checkpoint_secret_name(job.name, job.uid),
                job.namespace,
                key=seen.fresh_checkpoint_key,
                labels=common_labels(job),
                owner=owner_of(job),
            )
        )
    return objects + stage_objects(_stage_job(seen, inputs, settings, stage, number))


def is_own(job: FineTuneJob, found: Mapping[str, Any]) -> bool:
    """Tell whether an object that exists under a name of the job's was made for the job."""
    metadata = found["metadata"]
    owners = metadata.get("ownerReferences") or []
    labels = metadata.get("labels") or {}
    return owner_of(job) in owners and labels.items() >= common_labels(job).items()


def _stage_job(seen: Observed, inputs: Inputs, settings: StageSettings, stage: StageName, number: int) -> StageJob:
    job, method = seen.job, seen.job.spec.method
    judged = stage in ("Baseline", "Evaluate")
    pool = inputs.server_pool if judged else inputs.pool
    training = stage == "Train" and method is not None
    fetch = None
    if stage == "Evaluate":
        base = _config_base(job, settings, number)
        fetch = FetchConfig(**base, adapter=_adapter(seen)).to_dict()
    return StageJob(
        name=attempt_job_name(job.name, stage, number, job.uid),
        namespace=job.namespace,
        stage=stage,
        labels=job_labels(job.name, job.uid, stage, number),
        owner=owner_of(job),
        image=settings.trainer_image,
        service_account=STAGE_SERVICE_ACCOUNT,
        config=_config(seen, inputs, settings, stage, number).to_dict(),
        fetch_config=fetch,
        downloads=downloads(seen, inputs, stage, _config_base(job, settings, number)),
        registry_secret=registry_secret_name(job.name, job.uid),
        ca_config_map=CA_CONFIG_MAP,
        resources=at_most(pool.spec.stage_resources, JUDGE) if judged else pool.spec.stage_resources,
        pool=pool.spec,
        mounts=_mounts(job, inputs, stage),
        pull_secrets=settings.pull_secrets,
        engine=_engine(job, inputs, settings, number, adapter=stage == "Evaluate") if judged else None,
        checkpoint_secret=checkpoint_secret_name(job.name, job.uid) if training else None,
        distributed=training,
        nodes=method.num_nodes if training and method else 1,
        processes=method.num_proc_per_node if training and method else 1,
    )


def _config(seen: Observed, inputs: Inputs, settings: StageSettings, stage: StageName, number: int) -> StageConfigBase:
    job, spec = seen.job, seen.job.spec
    base = _config_base(job, settings, number)
    data: dict[str, Any] = {"base_model": _base_model(inputs), "dataset": _dataset(job, inputs)}
    judged: dict[str, Any] = {**data, "suite": _suite(inputs), "profile": inputs.server.spec.profile}
    fraction, seed = engine_spec(spec)
    asked: dict[str, Any] = {"development_fraction": fraction, "seed": seed, "author_prompt": spec.baseline.prompt}
    match stage:
        case "Validate":
            return ValidateConfig(
                **base,
                **judged,
                further_suites=inputs.further.inputs(),
                unread_suites=dict(inputs.further.unread),
                intent=spec.intent,
                method=spec.method,
                import_path=inputs.imported.below(IMPORT_MOUNT) if inputs.imported else None,
                documents=_documents(job, inputs),
                author_prompt=spec.baseline.prompt,
                checks=_checks(job, inputs),
                pool=inputs.pool.spec,
                learned=learned(inputs.pool, spec.method.type) if spec.method else None,
                budget=spec.budget,
                economics=spec.economics,
                origin=_origin(job),
            )
        case "Baseline":
            return BaselineConfig(**base, **judged, **asked, documents=_documents(job, inputs))
        case "Train":
            if spec.method is None:
                raise AssertionError("only source Train has a stage Train, and it has a method")
            return TrainConfig(**base, **data, method=spec.method, pool=inputs.pool.spec)
        case "Seal":
            return SealConfig(
                **base,
                source_path=_seal_source(inputs),
                source_digest=_seal_digest(seen),
                base_model_name=inputs.base_model.name,
                max_lora_rank=inputs.server.spec.profile.max_lora_rank,
            )
        case "Evaluate":
            return EvaluateConfig(
                **base,
                **judged,
                **asked,
                adapter=_adapter(seen),
                baseline_result=_result_digest(seen, "Baseline"),
                baseline_repository=stage_repository(job, "Baseline"),
                documents_digest=job.status.documents_digest,
                min_margin=inputs.policy.spec.min_margin,
            )


def _config_base(job: FineTuneJob, settings: StageSettings, number: int) -> dict[str, Any]:
    return {
        "job": JobIdentity(namespace=job.namespace, name=job.name, uid=job.uid, attempt=number),
        "registry": RegistryTarget(
            host=settings.registry_host,
            plain_http=settings.registry_plain_http,
            repository=job_repository(job.namespace, job.name, job.uid),
        ),
    }


def _base_model(inputs: Inputs) -> BaseModelInput:
    return BaseModelInput(
        name=inputs.base_model.name,
        path=inputs.base.below(BASE_MODEL_MOUNT),
        context_length=inputs.base_model.spec.context_length,
        manifest=inputs.base_manifest,
        manifest_digest=inputs.base_digest,
    )


def _checks(job: FineTuneJob, inputs: Inputs) -> list[CheckSetting]:
    return effective(inputs.policy.spec.data_checks, job.spec.dataset.checks)


def _dataset(job: FineTuneJob, inputs: Inputs) -> DatasetInput:
    """Return the data set; after validation with the digest found there, so that every stage reads the same bytes."""
    found, spec = job.status.dataset, job.spec.dataset
    path, digest = inputs.dataset.below(DATASET_MOUNT), found.digest if found else spec.digest
    if found and found.redacted_digest:
        path, digest = f"{WORKSPACE_MOUNT}/{REDACTED_FILE}", found.redacted_digest
    return DatasetInput(path=path, digest=digest, group_field=spec.group_field)


def _documents(job: FineTuneJob, inputs: Inputs) -> DocumentsInput | None:
    """Return the documents; after validation with the digest found there."""
    spec = job.spec.baseline.documents
    if spec is None or inputs.documents is None:
        return None
    digest = job.status.documents_digest or spec.digest
    return DocumentsInput(path=inputs.documents.below(DOCUMENTS_MOUNT), digest=digest)


def _origin(job: FineTuneJob) -> DataOrigin:
    spec = job.spec.dataset
    return DataOrigin(
        uri=spec.uri,
        source=spec.source,
        license=spec.license,
        classification=spec.classification,
        steward=spec.steward,
        expiration_date=spec.expiration_date,
    )


def _suite(inputs: Inputs) -> SuiteInput:
    return SuiteInput(
        name=inputs.suite.name,
        path=questions_path(inputs.suite.name, inputs.questions, SUITE_MOUNT),
        digest=inputs.suite_digest,
        spec=inputs.suite.spec,
    )


def _engine(job: FineTuneJob, inputs: Inputs, settings: StageSettings, number: int, *, adapter: bool) -> Engine:
    server = inputs.server.spec
    check = CheckBaseConfig(**_config_base(job, settings, number), base_model=_base_model(inputs))
    path = inputs.base.below(BASE_MODEL_MOUNT)
    return Engine(check.to_dict(), server.profile, path, server.resources, adapter=adapter)


def _mounts(job: FineTuneJob, inputs: Inputs, stage: StageName) -> list[ClaimMount]:
    base = [ClaimMount(inputs.base.claim, BASE_MODEL_MOUNT)] if isinstance(inputs.base, ClaimPath) else []
    dataset = []
    if isinstance(inputs.dataset, ClaimPath) and reads_source(job, stage):
        dataset = [ClaimMount(inputs.dataset.claim, DATASET_MOUNT)]
    suite = [ClaimMount(inputs.questions.claim, SUITE_MOUNT)] if isinstance(inputs.questions, ClaimPath) else []
    imported = [ClaimMount(inputs.imported.claim, IMPORT_MOUNT)] if inputs.imported else []
    documents = []
    if isinstance(inputs.documents, ClaimPath) and reads_documents(stage):
        documents = [ClaimMount(inputs.documents.claim, DOCUMENTS_MOUNT)]
    workspace = []
    if _uses_workspace(job, inputs, stage):
        name, writes = workspace_claim_name(job.name, job.uid), stage in ("Validate", "Train")
        workspace = [ClaimMount(name, WORKSPACE_MOUNT, read_only=not writes)]
    match stage:
        case "Validate":
            return [*base, *dataset, *suite, *inputs.further.mounts(), *imported, *documents, *workspace]
        case "Train":
            return [*base, *dataset, *workspace]
        case "Seal":
            return imported or workspace
        case _:
            return [*base, *dataset, *suite, *documents, *workspace]


def _uses_workspace(job: FineTuneJob, inputs: Inputs, stage: StageName) -> bool:
    if stage == "Validate":
        return any(setting.action == "Redact" for setting in _checks(job, inputs))
    if stage == "Seal":
        return job.spec.source == "Train"
    return stage == "Train" or not reads_source(job, stage)


def _seal_source(inputs: Inputs) -> str:
    return inputs.imported.below(IMPORT_MOUNT) if inputs.imported else f"{WORKSPACE_MOUNT}/{TRAINED_ADAPTER}"


def _seal_digest(seen: Observed) -> str:
    found = unsealed_adapter(seen)
    if found is None:
        raise Transient("the result that names the adapter to seal can't be read from the registry")
    return found


def _adapter(seen: Observed) -> AdapterInput:
    result = seen.results.get(_result_digest(seen, "Seal"))
    if not isinstance(result, SealResult) or not (result.digest and result.manifest and result.manifest_digest):
        raise Transient("the result of sealing can't be read from the registry")
    return AdapterInput(
        repository=result.repository,
        digest=result.digest,
        manifest=result.manifest,
        manifest_digest=result.manifest_digest,
    )


def _result_digest(seen: Observed, stage: StageName) -> str:
    found = seen.job.status.stage(stage).result_digest
    if found is None:
        raise Transient(f"stage {stage} has no result yet")
    return found
