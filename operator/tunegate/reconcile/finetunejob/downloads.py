"""Which stages read data set, documents and pushed questions, and what is copied into a pod: they from a store or the registry, a base model from
a mirror."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.api.computepool import memory_bytes
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.stage.configs import DownloadConfig, Pull, PullDataConfig
from tunegate.api.stage.layout import DATASET_MOUNT, DOCUMENTS_MOUNT, MAX_DOCUMENT_BYTES, QUESTIONS_MOUNT
from tunegate.manifests.downloads import Download, data_download, documents_download, questions_download
from tunegate.manifests.sources import ClaimPath, HubPath, RegistryPath, StorePath
from tunegate.reconcile.finetunejob.inputs import Inputs
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.hub_mirror import copied_model

DOCUMENTS_FOLDER = "64Mi"
"""Room for documents: small files take more of a disk than they have bytes."""
QUESTIONS_MEBIBYTES = 64
"""The same for the questions of one suite."""


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
    job, room = seen.job, seen.job.spec.workspace.size
    found = []
    if reads_source(job, stage):
        config = _config(inputs.dataset, DATASET_MOUNT, base, memory_bytes(room), "ask for a larger workspace.size")
        found += [data_download(config, job.spec.dataset.secret_name, room)] if config else []
    documents = job.spec.baseline.documents
    if inputs.documents and documents and reads_documents(stage):
        fewer = "name fewer documents in baseline.documents"
        config = _config(inputs.documents, DOCUMENTS_MOUNT, base, MAX_DOCUMENT_BYTES, fewer)
        found += [documents_download(config, documents.secret_name, DOCUMENTS_FOLDER)] if config else []
    if pulls := _questions(inputs, stage):
        told: dict[str, Any] = {
            "max_bytes": MAX_DOCUMENT_BYTES,
            "too_large": "ask the suite's owner for fewer questions",
        }
        config = PullDataConfig(**base, **told, pulls=pulls).to_dict()
        found.append(questions_download(config, f"{len(pulls) * QUESTIONS_MEBIBYTES}Mi"))
    if isinstance(inputs.base, HubPath) and stage != "Seal":
        model, manifest = inputs.base_model, inputs.base_manifest
        found.append(copied_model(model, inputs.base, seen.hub_endpoint, base["job"], base["registry"], manifest))
    return found


def questions_path(suite: str, place: ClaimPath | RegistryPath, mount: str) -> str:
    """Return where a stage finds a suite's questions: below ``mount`` if they lie on a claim, else where they are pulled to."""
    return place.below(mount if isinstance(place, ClaimPath) else f"{QUESTIONS_MOUNT}/{suite}")


def _questions(inputs: Inputs, stage: StageName) -> list[Pull]:
    """Return the pushed questions that a stage reads: the job's own, and at validation those of other suites."""
    if stage not in ("Validate", "Baseline", "Evaluate"):
        return []
    further = inputs.further.readable if stage == "Validate" else ()
    named = [(inputs.suite.name, inputs.questions, True), *((one.name, path, False) for one, path in further)]
    return [
        Pull(uri=path.place.uri, path=questions_path(name, path, QUESTIONS_MOUNT), required=required)
        for name, path, required in named
        if isinstance(path, RegistryPath)
    ]


def _config(
    source: ClaimPath | StorePath | RegistryPath, mount: str, base: Mapping[str, Any], max_bytes: int, too_large: str
) -> dict[str, Any] | None:
    """Return what the container that copies an input is told; None: it lies on a claim, where it is read."""
    told = {**base, "path": source.below(mount), "max_bytes": max_bytes, "too_large": too_large}
    match source:
        case StorePath(bucket, key):
            return DownloadConfig(**told, bucket=bucket, key=key).to_dict()
        case RegistryPath(place):
            path = told.pop("path")
            return PullDataConfig(**told, pulls=[Pull(uri=place.uri, path=path)]).to_dict()
        case _:
            return None
