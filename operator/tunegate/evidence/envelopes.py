"""Signed statements as files and as referrers of the adapter: made with the operator's key, checked with the auditor's.

All three are DSSE envelopes; that of the files lies in a Sigstore bundle, which is what `model_signing verify key` reads.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from hashlib import sha256 as plain_sha256
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error

from tunegate import __version__, intoto
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.digests import canonical, sha256
from tunegate.evidence import layout
from tunegate.evidence.attached import attached
from tunegate.evidence.attestations import attestations
from tunegate.evidence.documents import misfit
from tunegate.evidence.layout import Files
from tunegate.evidence.referrer import Referrer, referrer, subject
from tunegate.evidence.story import Difference, Documents, Subject
from tunegate.keys import PublicKey, SigningKey
from tunegate.ledger.chain import record_name
from tunegate.reconcile.modelrelease.ledger_entries import last
from tunegate.registry import artifact
from tunegate.release.statement import ReleaseStatement
from tunegate.strict_json import strict_json

Json = dict[str, Any]
PREDICATE_ANNOTATION = "in-toto.io/predicate-type"


def sign(statements: Mapping[str, Json], adapter: bytes, key: SigningKey) -> tuple[Referrer, ...]:
    """Sign statements about the adapter with the OCI manifest ``adapter``. The same again, whenever it is done again."""
    about, made = subject(adapter), []
    for name, statement in statements.items():
        _, media_type = layout.SIGNATURES[name]
        envelope = intoto.unsigned(statement)
        key.sign(envelope)
        content = written(envelope, media_type, key.public)
        said = {PREDICATE_ANNOTATION: str(statement["predicateType"])}
        made.append(referrer(name, content, media_type, about, said))
    return tuple(made)


def read(
    files: Files,
    statement: ReleaseStatement,
    documents: Documents,
    records: Sequence[AuditRecordSpec],
    trusted: Sequence[PublicKey],
) -> tuple[dict[str, Json], list[Difference]]:
    """Return what was signed, by name, and what does not fit: what the ledger names must be there, say what the sources say,
    and be signed by a ``trusted`` key. Without such keys it is not asked who signed.
    """
    record = last((one for one in records if one.subject.uid == statement.release.uid), "EvidenceSealed")
    digest = sha256(files[layout.STATEMENT])
    if record is None:
        text = f"no record says that the evidence of release {statement.release.uid} was signed"
        return {}, [Difference(layout.LEDGER, text)] if trusted else []
    if record.payload.get("releaseDigest") != digest:
        text = f"{record_name(record.sequence)} says that evidence of {record.payload.get('releaseDigest')} was signed"
        return {}, [Difference(layout.LEDGER, f"{text}, the release digest is {digest}")]
    said: dict[str, Json] = {}
    found: list[Difference] = []
    for name, document in layout.signatures(record.payload).items():
        content, wrong = _content(files, document, statement.adapter.digest, trusted)
        found += wrong
        if content is not None:
            said[name] = content
    if not found:
        found = _against_sources(said, statement, digest, documents)
    if not found and _version(said["provenance"]) == __version__:
        found = _attached(record, Subject(statement, digest, documents), files)
    return said, found


def _attached(record: AuditRecordSpec, about: Subject, files: Files) -> list[Difference]:
    """The documents that were attached to the adapter are those that are made now; another version may word them otherwise."""
    return [
        Difference(layout.LEDGER, f"{record_name(record.sequence)} names another {one.name} than the other files give")
        for one in attached(about, files)
        if record.payload.get(one.name) != one.digest
    ]


def _content(
    files: Files, document: layout.Document, adapter: str, trusted: Sequence[PublicKey]
) -> tuple[Json | None, list[Difference]]:
    """Return what a file states, if it is the one that the ledger names, and what is wrong with it."""
    manifest, content = files.get(document.manifest_path), files.get(document.path)
    if manifest is None or content is None:
        missing = [path for path in (document.manifest_path, document.path) if path not in files]
        return None, [Difference(path, "is missing") for path in missing]
    wrong = misfit(document, manifest, content)
    if wrong is not None:
        return None, [wrong]
    named = artifact.read(manifest).subject
    if named is None or named.digest != adapter:
        return None, [Difference(document.manifest_path, f"is no referrer of the adapter {adapter}")]
    try:
        envelope, statement = _opened(content, document.media_type)
    except ValueError as error:
        return None, [Difference(document.path, f"is no signed in-toto statement: {error}")]
    if trusted:
        signer = next((key for key in trusted if key.signed(envelope)), None)
        if signer is None:
            return None, [Difference(document.path, "is not signed by the given key, nor by one that it vouches for")]
        if written(envelope, document.media_type, signer) != content:
            return None, [Difference(document.path, "holds more than the operator writes around a signature")]
    return statement, []


def _against_sources(
    said: Mapping[str, Json], statement: ReleaseStatement, digest: str, documents: Documents
) -> list[Difference]:
    """Compare with what would be signed now. Another version may word the provenance in another way, but not its subject."""
    version = _version(said["provenance"])
    wanted = attestations(statement, digest, documents, version)
    if version != __version__:
        subject = {"subject": wanted["provenance"]["subject"], "predicateType": wanted["provenance"]["predicateType"]}
        wanted["provenance"] = {**said["provenance"], **subject}
    return [
        Difference(layout.SIGNATURES[name][0], "states something else than the other files give")
        for name, one in wanted.items()
        if said[name] != one
    ]


def _version(provenance: Json) -> str:
    """Return the version of Tunegate that made a provenance statement; empty where it says none."""
    try:
        return str(provenance["predicate"]["runDetails"]["builder"]["version"]["tunegate"])
    except (KeyError, TypeError):
        return ""


def written(envelope: Envelope, media_type: str, key: PublicKey) -> bytes:
    """Return the file of an envelope, a Sigstore bundle where the media type says so, as RFC 8785 JSON.

    Verifiers of bundles compare the hint with the SHA-256 of the key's PEM form.
    """
    document = envelope.to_dict()
    if media_type != layout.BUNDLE_TYPE:
        return canonical(document)
    hint = plain_sha256(key.pem.encode()).hexdigest()
    return canonical(
        {
            "mediaType": layout.BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": document,
        }
    )


def _opened(content: bytes, media_type: str) -> tuple[Envelope, Json]:
    """Return envelope and statement, each in its only form: what is read in two ways proves nothing. Raises ``ValueError``."""
    try:
        document = strict_json(content.decode())
        plain = document["dsseEnvelope"] if media_type == layout.BUNDLE_TYPE else document
        envelope = Envelope.from_dict(copy.deepcopy(plain))
        if envelope.to_dict() != plain or canonical(document) != content:
            raise ValueError("not in canonical form")
        statement = strict_json(envelope.payload.decode())
    except (ValueError, KeyError, TypeError, AttributeError, Error) as error:
        raise ValueError(type(error).__name__) from error
    if envelope.payload_type != intoto.PAYLOAD_TYPE or not isinstance(statement, dict):
        raise ValueError(f"its payload type must be {intoto.PAYLOAD_TYPE}")
    return envelope, statement
