"""Results of a job's stages as one person reads them: the job by its name or its release's, the document by its digest."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.markers import StrictModel
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE, STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT
from tunegate.cli.cluster import Cluster
from tunegate.cli.failure import CommandFailure
from tunegate.cli.reference import JOB, Reference, needed
from tunegate.digests import sha256
from tunegate.errors import wrong_fields
from tunegate.reconcile.naming import stage_repository, statement_repository
from tunegate.registry.client import RegistryClient

Result = TypeVar("Result", bound=StrictModel)


def job_named(cluster: Cluster, subject: Reference, namespace: str) -> FineTuneJob:
    """Return the job that is named, or that of the release that is named."""
    if subject.kind == JOB:
        return needed(cluster, FineTuneJob, subject.name, namespace)
    release = needed(cluster, ModelRelease, subject.name, namespace)
    job = cluster.need(FineTuneJob, release.spec.job_ref.name, namespace)
    if job.uid != release.spec.job_ref.uid:
        raise CommandFailure(f"the job of {subject} is gone; another one has its name")
    return job


def pull_statement(client: RegistryClient, release: ModelRelease, repository: str | None) -> bytes:
    """Return the release statement, whose hash must be the digest that people approved.

    ``repository`` is where the ledger says that it lies; None: where the operator puts it.
    """
    oci = release.status.statement_digest
    if oci is None:
        raise CommandFailure(f"{release.name} has no statement yet")
    where = repository or statement_repository(release.namespace, release.name, release.uid)
    content = client.pull_document(where, oci, media_type=STATEMENT_MEDIA_TYPE)
    if sha256(content) != release.status.release_digest:
        raise CommandFailure(f"the stored statement hashes to {sha256(content)}: it is not what was approved")
    return content


def pull_result(client: RegistryClient, job: FineTuneJob, name: StageName, model: type[Result]) -> tuple[str, Result]:
    """Return where a stage's documents lie and its result, verified against the digest in the job's status."""
    repository, digest = stage_repository(job, name), job.status.stage(name).result_digest
    if digest is None:
        raise CommandFailure(f"job {job.name} has no result of stage {name}")
    content = client.pull_document(f"{repository}/results", digest, media_type=RESULT_MEDIA_TYPE)
    try:
        result = STAGE_RESULT.validate_json(content)
    except ValidationError as error:
        raise CommandFailure(f"the result of {name} cannot be read: {wrong_fields(error)}") from None
    if not isinstance(result, model):
        raise CommandFailure(f"{digest} is the result of stage {result.stage}")
    return repository, result
