"""Statement, results, data statement and the adapter's manifest: each is what the digests say, and they tell one story."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import rfc8785
from pydantic import ValidationError

from tunegate.api.datastatement import DataStatement
from tunegate.api.finetunejob.status import StageName
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.stage.layout import ADAPTER_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT, EvaluateResult, SealResult, StageResult, ValidateResult
from tunegate.digests import canonical, document_digest, manifest_digest, sha256
from tunegate.errors import wrong_fields
from tunegate.evidence import layout
from tunegate.evidence.layout import Files
from tunegate.evidence.story import Difference, Documents
from tunegate.registry import artifact
from tunegate.release.statement import ReleaseStatement


def read_statement(content: bytes, noted: str | None) -> tuple[ReleaseStatement | None, list[Difference]]:
    """Return the release statement, if it can be read, and what is wrong with it. ``noted`` is the release digest that
    somebody wrote down."""
    found = []
    digest = sha256(content)
    if noted is not None and digest != noted:
        found.append(
            Difference(layout.STATEMENT, f"its SHA-256 is {digest}, the release digest that you noted is {noted}")
        )
    try:
        statement = ReleaseStatement.model_validate_json(content)
        if canonical(json.loads(content)) != content:
            found.append(Difference(layout.STATEMENT, "is not in canonical form (RFC 8785)"))
    except ValidationError as error:
        found.append(Difference(layout.STATEMENT, f"cannot be read: {wrong_fields(error)}"))
        return None, found
    except (ValueError, rfc8785.CanonicalizationError):
        found.append(Difference(layout.STATEMENT, "has no canonical form (RFC 8785)"))
        return None, found
    return statement, found


def read_documents(files: Files, statement: ReleaseStatement) -> tuple[Documents | None, list[Difference]]:
    """Return what the statement names, if all of it is as it was, and what is not. Absent files are passed over."""
    found: list[Difference] = []
    results: dict[StageName, StageResult] = {}
    data: DataStatement | None = None
    for document in layout.documents(statement):
        content, manifest = files.get(document.path), files.get(document.manifest_path)
        if content is None or manifest is None:
            continue
        wrong = misfit(document, manifest, content)
        if wrong is not None:
            found.append(wrong)
            continue
        try:
            if document.stage is None:
                data = DataStatement.model_validate_json(content)
            else:
                results[document.stage] = STAGE_RESULT.validate_json(content)
        except ValidationError as error:
            found.append(Difference(document.path, f"cannot be read by this version: {wrong_fields(error)}"))
    entries = _adapter(files.get(layout.ADAPTER), statement, found)
    if found or data is None or entries is None or results.keys() != statement.job.results.keys():
        return None, found
    documents = Documents(data, results, entries)
    found = list(_misfits(statement, documents, files))
    return (None if found else documents), found


def misfit(document: layout.Document, manifest: bytes, content: bytes) -> Difference | None:
    """Return where the chain from the document's digest over its OCI manifest to its content is broken."""
    if sha256(manifest) != document.digest:
        return Difference(
            document.manifest_path,
            f"its SHA-256 is {sha256(manifest)}, {document.named_by} names {document.digest or 'none'}",
        )
    try:
        said = artifact.read(manifest)
    except ValueError as error:
        return Difference(document.manifest_path, str(error))
    if said.artifact_type != document.media_type or len(said.layers) != 1:
        return Difference(document.manifest_path, f"is no artifact of type {document.media_type} with one layer")
    if sha256(content) != said.layers[0].digest:
        return Difference(
            document.path, f"its SHA-256 is {sha256(content)}, {document.manifest_path} names {said.layers[0].digest}"
        )
    return None


def _adapter(
    manifest: bytes | None, statement: ReleaseStatement, found: list[Difference]
) -> tuple[FileEntry, ...] | None:
    """Return the adapter's files as its OCI manifest names them."""
    if manifest is None:
        return None
    if sha256(manifest) != statement.adapter.digest:
        text = f"its SHA-256 is {sha256(manifest)}, the release statement names {statement.adapter.digest}"
        found.append(Difference(layout.ADAPTER, text))
        return None
    try:
        said = artifact.read(manifest)
        entries = Manifest(
            files=[
                FileEntry(path=layer.title, size=layer.size, sha256=layer.digest.removeprefix("sha256:"))
                for layer in said.layers
            ]
        )
    except ValueError:
        found.append(Difference(layout.ADAPTER, "is no OCI manifest of files"))
        return None
    if said.artifact_type != ADAPTER_MEDIA_TYPE or manifest_digest(entries) != statement.adapter.manifest_digest:
        text = f"its files have the digest {manifest_digest(entries)}, the release statement names "
        found.append(Difference(layout.ADAPTER, text + statement.adapter.manifest_digest))
    return tuple(sorted(entries.files, key=lambda entry: entry.path))


def _misfits(statement: ReleaseStatement, documents: Documents, files: Files) -> list[Difference]:
    """Compare what is said in more than one place. The digests cover each place, so who made the release made the error."""
    raw = json.loads(files[layout.STATEMENT])
    pairs: list[tuple[str, str, Any, Any]] = [
        ("", "the policy's digest", document_digest(raw["policy"]["spec"]), statement.policy.digest),
        ("", "the engine profile's digest", document_digest(raw["engine"]["profile"]), statement.engine.digest),
        ("", "the evaluation's result", statement.job.results.get("Evaluate"), statement.evaluation.result_digest),
        *_of_results(statement, documents.results),
        *_of_data(statement, documents.data),
    ]
    return [
        Difference(file or layout.STATEMENT, f"{what} is {found}, the release statement says {stated}")
        for file, what, found, stated in pairs
        if found != stated
    ]


def _of_results(
    statement: ReleaseStatement, results: Mapping[StageName, StageResult]
) -> list[tuple[str, str, Any, Any]]:
    pairs: list[tuple[str, str, Any, Any]] = [
        (layout.result_path(stage), "its stage", result.stage, stage) for stage, result in results.items()
    ]
    for stage, result in results.items():
        path = layout.result_path(stage)
        if isinstance(result, EvaluateResult):
            stated = statement.evaluation
            pairs += [
                (path, "the outcome", result.outcome, stated.outcome),
                (path, "the suite", result.suite_digest, stated.suite_digest),
                (path, "the adapter", result.adapter_manifest_digest, statement.adapter.manifest_digest),
                (path, "the base model", result.base_model_digest, statement.base_model.manifest_digest),
                (path, "the engine profile", result.profile_digest, statement.engine.digest),
                (path, "the metric", result.metric, stated.metric),
                (path, "the score", f"{result.tuned.get(result.metric, math.nan):.4f}", stated.tuned),
                (path, "the margin", f"{result.margin:.4f}", stated.margin),
            ]
        elif isinstance(result, SealResult):
            pairs.append((path, "the adapter", result.digest, statement.adapter.digest))
        elif isinstance(result, ValidateResult):
            redacted = result.redacted.digest if result.redacted else None
            pairs += [
                (path, "the data", result.dataset_digest, statement.data.digest),
                (path, "the redacted data", redacted, statement.data.redacted_digest),
                (path, "the data statement", result.statement_digest, statement.data.statement_digest),
            ]
    return pairs


def _of_data(statement: ReleaseStatement, data: DataStatement) -> list[tuple[str, str, Any, Any]]:
    stated, origin = statement.data, data.origin
    redacted = data.redacted.digest if data.redacted else None
    return [
        (layout.DATA, "the job", data.job_uid, statement.job.uid),
        (layout.DATA, "the data", data.digest, stated.digest),
        (layout.DATA, "the redacted data", redacted, stated.redacted_digest),
        (layout.DATA, "the number of rows", data.rows, stated.rows),
        (layout.DATA, "the class", origin.classification, stated.classification),
        (layout.DATA, "the license", origin.license, stated.license),
        (layout.DATA, "the source", origin.source, stated.source),
        (layout.DATA, "the steward", origin.steward, stated.steward),
        (layout.DATA, "the base model", data.base_model_digest, statement.base_model.manifest_digest),
        (layout.DATA, "the suite", data.suite_digest, statement.evaluation.suite_digest),
    ]
