"""What the operator signs when evidence is sealed: three in-toto statements about the adapter.

Where it comes from (SLSA provenance), which release it belongs to, and which files it has. The last is the predicate of
OpenSSF Model Signing, https://github.com/ossf/model-signing-spec. Its own subject is a digest over the files' digests
without their names, so it never stands for the adapter here: the OCI manifest and our own manifest do.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from tunegate import intoto
from tunegate.api.manifest import FileEntry
from tunegate.evidence.provenance import provenance
from tunegate.evidence.story import Documents
from tunegate.release.statement import ReleaseStatement

Json = dict[str, Any]
RELEASE_PREDICATE = "https://tunegate.io/release/v1alpha1"
MODEL_PREDICATE = "https://model_signing/signature/v1.0"


def attestations(statement: ReleaseStatement, digest: str, documents: Documents, version: str) -> dict[str, Json]:
    """Return the statements by name; ``digest`` is the release digest, ``version`` that of Tunegate."""
    return {
        "provenance": provenance(statement, documents, version),
        "release": _release(statement, digest),
        "model": _model(statement.served_name, documents.files),
    }


def _release(statement: ReleaseStatement, digest: str) -> Json:
    release, adapter = statement.release, statement.adapter
    return intoto.statement(
        [intoto.named(adapter.repository, adapter.digest)],
        RELEASE_PREDICATE,
        {
            "releaseDigest": digest,
            "cluster": statement.cluster,
            "release": {"namespace": release.namespace, "name": release.name, "uid": release.uid},
            "adapterManifestDigest": adapter.manifest_digest,
        },
    )


def _model(name: str, files: Sequence[FileEntry]) -> Json:
    """List every file, and no path to be ignored: a file that came later makes verification fail."""
    ordered = sorted(files, key=lambda entry: entry.path)
    root = sha256(b"".join(bytes.fromhex(entry.sha256) for entry in ordered)).hexdigest()
    return intoto.statement(
        [intoto.named(name, root)],
        MODEL_PREDICATE,
        {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [{"name": entry.path, "algorithm": "sha256", "digest": entry.sha256} for entry in ordered],
        },
    )
