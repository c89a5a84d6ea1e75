"""Which stages read data set and documents, and what is copied into a pod: they from a store, a base model from a mirror."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.api.computepool import memory_bytes
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.stage.configs import DownloadConfig
from tunegate.api.stage.layout import DATASET_MOUNT, DOCUMENTS_MOUNT, MAX_DOCUMENT_BYTES
from tunegate.manifests.downloads import Download, data_download, documents_download
from tunegate.manifests.sources import HubPath, StorePath
from tunegate.reconcile.finetunejob.inputs import Inputs
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.hub_mirror import copied_model

DOCUMENTS_FOLDER = "64Mi"
"""Room for documents: small files take more of a disk than they have bytes."""


def reads_source(job: FineTuneJob, stage: StageName) -> bool:
    """Whether a stage sees the data set that the job names, and not the redacted one in the workspace, or none."""
    redacted = job.status.dataset is not None and job.status.dataset.redacted_digest is not None
    return stage == "Validate" or (stage != "Seal" and not redacted)


def reads_documents(stage: StageName) -> bool:
    """Whether a stage sees the documents that the job names, if any."""
    return stage in ("Validate", "Baseline")


def downloads(seen: Observed, inputs: Inputs, stage: StageName, base: Mapping[str, Any]) -> list[Download]:
    """Return what is copied before the stage starts. ``base``: what every stage is told.

    The data set may be as large as the job's workspace.
    """
    job = seen.job
    data, documents = job.spec.dataset, job.spec.baseline.documents
    found = []
    if isinstance(inputs.dataset, StorePath) and data.secret_name and reads_source(job, stage):
        size = job.spec.workspace.size
        config = DownloadConfig(
            **base,
            bucket=inputs.dataset.bucket,
            key=inputs.dataset.key,
            path=inputs.dataset.below(DATASET_MOUNT),
            max_bytes=memory_bytes(size),
            too_large="ask for a larger workspace.size",
        )
        found.append(data_download(config.to_dict(), data.secret_name, size))
    if isinstance(inputs.documents, StorePath) and documents and documents.secret_name and reads_documents(stage):
        config = DownloadConfig(
            **base,
            bucket=inputs.documents.bucket,
            key=inputs.documents.key,
            path=inputs.documents.below(DOCUMENTS_MOUNT),
            max_bytes=MAX_DOCUMENT_BYTES,
            too_large="name fewer documents in baseline.documents",
        )
        found.append(documents_download(config.to_dict(), documents.secret_name, DOCUMENTS_FOLDER))
    if isinstance(inputs.base, HubPath) and stage != "Seal":
        model, manifest = inputs.base_model, inputs.base_manifest
        found.append(copied_model(model, inputs.base, seen.hub_endpoint, base["job"], base["registry"], manifest))
    return found
