"""Brings the documents of a release from the registry, whoever may read it there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.evidence import layout
from tunegate.reconcile.naming import job_repository, stage_repository
from tunegate.release.statement import ReleaseStatement


class Reader(Protocol):
    """The two verbs of ``tunegate.registry.client.RegistryClient`` that are needed; both verify digests."""

    def pull_manifest(self, repository: str, digest: str) -> bytes: ...

    def pull_document(self, repository: str, digest: str, *, media_type: str | None = None) -> bytes: ...


def pull(reader: Reader, statement: ReleaseStatement, jobs: Iterable[FineTuneJob]) -> dict[str, bytes]:
    """Return the adapter's OCI manifest and all documents that the statement names, by their path in the folder.

    ``jobs`` are those of the namespace: they say where results lie that were taken over from other jobs.
    """
    places, job, adapter = _places(jobs), statement.job, statement.adapter
    own = job_repository(statement.release.namespace, job.name, job.uid)
    files = {layout.ADAPTER: reader.pull_manifest(adapter.repository, adapter.digest)}
    for one in layout.documents(statement):
        files |= _document(reader, f"{places.get(one.digest, own)}/results", one)
    return files


def pull_signatures(reader: Reader, statement: ReleaseStatement, record: Mapping[str, str]) -> dict[str, bytes]:
    """Return what the `EvidenceSealed` record with the payload ``record`` names, by path in the folder."""
    files: dict[str, bytes] = {}
    for one in layout.signatures(record).values():
        files |= _document(reader, statement.adapter.repository, one)
    return files


def _places(jobs: Iterable[FineTuneJob]) -> dict[str, str]:
    return {
        stage.result_digest: stage_repository(job, stage.name)
        for job in jobs
        for stage in job.status.stages
        if stage.result_digest is not None and stage.repository is not None
    }


def _document(reader: Reader, repository: str, one: layout.Document) -> dict[str, bytes]:
    return {
        one.manifest_path: reader.pull_manifest(repository, one.digest),
        one.path: reader.pull_document(repository, one.digest, media_type=one.media_type),
    }
