"""Which file holds what. Sources are named by digests of the release statement or of the ledger; all else is made of them.

So one release digest and one ledger head, noted elsewhere, cover every byte of the folder: a source is hashed, and what
is made of the sources is made again and compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from tunegate.api.finetunejob.status import StageName
from tunegate.api.stage.layout import DATA_STATEMENT_MEDIA_TYPE, RESULT_MEDIA_TYPE
from tunegate.release.statement import ReleaseStatement

STATEMENT = "release-statement.json"
"""The canonical bytes whose SHA-256 is the release digest."""
DATA = "data-statement.json"
EVALUATION = "evaluation.json"
APPROVALS = "approvals.jsonl"
LEDGER = "ledger-extract.jsonl"
ADAPTER = "oci/adapter.json"
"""The OCI manifest of the sealed adapter; the adapter's own files are not in the folder."""
INDEX = "index.json"


DSSE_TYPE = "application/vnd.dsse.envelope.v1+json"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNATURES = {
    "provenance": ("signatures/provenance.dsse.json", DSSE_TYPE),
    "release": ("signatures/release.dsse.json", DSSE_TYPE),
    "model": ("model.sig", BUNDLE_TYPE),
}
"""File and media type of what the operator signs, by the name under which the ledger holds its OCI digest."""

Files = Mapping[str, bytes]
"""The folder: content by path, with `/` between folders."""


@dataclass(frozen=True)
class Document:
    """A document of the registry: an OCI manifest, whose digest another file names, and the content it names."""

    path: str
    manifest_path: str
    digest: str
    """SHA-256 of the OCI manifest."""
    media_type: str
    stage: StageName | None = None
    """Whose result it is; None: another document."""
    named_by: str = STATEMENT
    """What names its digest."""


def documents(statement: ReleaseStatement) -> tuple[Document, ...]:
    """Return the documents that the statement names, in the order in which they were made."""
    stages: tuple[StageName, ...] = get_args(StageName)
    results = statement.job.results
    return (
        Document(DATA, "oci/data-statement.json", statement.data.statement_digest, DATA_STATEMENT_MEDIA_TYPE),
        *(
            Document(result_path(stage), f"oci/{stage.lower()}.json", results[stage], RESULT_MEDIA_TYPE, stage)
            for stage in stages
            if stage in results
        ),
    )


def signatures(record: Mapping[str, str]) -> dict[str, Document]:
    """Return what an `EvidenceSealed` record says was signed, by name. ``record`` is its payload."""
    return {
        name: Document(path, f"oci/{name}-signature.json", record.get(name, ""), media_type, named_by=LEDGER)
        for name, (path, media_type) in SIGNATURES.items()
    }


def signature_paths(names: Iterable[str]) -> tuple[str, ...]:
    """Return the files of some signatures, and of the OCI manifests that name them."""
    documents = signatures({})
    return tuple(path for name in names for path in (documents[name].path, documents[name].manifest_path))


def result_path(stage: StageName) -> str:
    """Return the file of a stage's result."""
    return EVALUATION if stage == "Evaluate" else f"results/{stage.lower()}.json"


def sources(statement: ReleaseStatement) -> tuple[str, ...]:
    """Return the files that come from registry and cluster as they are."""
    found = [part for one in documents(statement) for part in (one.path, one.manifest_path)]
    return (STATEMENT, *found, ADAPTER, APPROVALS, LEDGER)
