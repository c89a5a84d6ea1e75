"""Hash stage: read a base model once, in parallel, into the manifest by which everything later names it."""

from __future__ import annotations

import json
import logging
import struct
import time
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from tunegate.api.manifest import HashedFolder
from tunegate.api.stage.configs import HashConfig
from tunegate.api.stage.findings import Finding
from tunegate.api.stage.results import HashResult
from tunegate.base_files import ChangedMeanwhile, hash_folder
from tunegate_trainer import base_settings
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput, InputChanged
from tunegate_trainer.findings import block
from tunegate_trainer.inputs import model_files

log = logging.getLogger(__name__)

MAX_HEADER = 100 * 1024 * 1024


def run(config: HashConfig, context: StageContext) -> HashResult:
    """Return the manifest and the number of weights, or a refusal that names what doesn't belong there."""
    started = time.monotonic()
    folder = Path(config.path)
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder")
    files, foreign = model_files(folder)
    findings = _check_content(folder, files, foreign)
    hashed = _hash_all(folder, files, context)
    manifest, digest = hashed.manifest, hashed.manifest_digest
    context.notes.note(base_model=digest)
    context.notes.watch("base model", hashed)
    if config.expected_manifest_digest not in (None, digest):
        findings.append(block("Digest", f"manifest is {digest}, expected {config.expected_manifest_digest}"))
    return HashResult(
        outcome="Refused" if findings else "Passed",
        findings=findings,
        manifest=manifest,
        manifest_digest=digest,
        bytes=sum(entry.size for entry in manifest.files),
        parameters=sum(count_parameters(path) for path in files if path.suffix == ".safetensors"),
        seconds=round(time.monotonic() - started, 3),
    )


def _hash_all(folder: Path, files: list[Path], context: StageContext) -> HashedFolder:
    def show(done: int, total: int) -> None:
        context.progress.show(100 * done / max(1, total), f"hashed {done} of {total} bytes")

    try:
        return hash_folder(folder, files, show=show)
    except ChangedMeanwhile as error:
        raise InputChanged(f"base model: {error}") from error


def _check_content(folder: Path, files: list[Path], foreign: list[str]) -> list[Finding]:
    findings = []
    names = {path.name for path in files}
    if foreign:
        allowed = "safetensors weights, JSON, tokenizer files and chat templates"
        listed = ", ".join(foreign[:5])
        findings.append(block("Files", f"{listed}: a base model's folder may hold {allowed} only", count=len(foreign)))
    if not any(name.endswith(".safetensors") for name in names):
        findings.append(block("Weights", "no .safetensors weights: convert them first"))
    if "config.json" not in names:
        findings.append(block("Configuration", "no config.json"))
    elif _read_json(folder / "config.json").get("auto_map"):
        findings.append(block("Code", "config.json asks for code of its own (auto_map): it never runs here"))
    if not names & {"tokenizer.json", "tokenizer.model"}:
        findings.append(block("Tokenizer", "no tokenizer.json or tokenizer.model"))
    try:
        base_settings.chat_template(folder)
    except BadInput as problem:
        findings.append(block("ChatTemplate", problem.message.removeprefix("base model: ")))
    return findings


def _read_json(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadInput(f"{path.name}: not JSON") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path.name}: not a JSON object")
    return document


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Return the tensor descriptions of a safetensors file without reading its weights. Raises ``BadInput``.

    Source: the safetensors format (8 bytes little-endian length, then JSON of name to dtype, shape, data_offsets).
    """
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= MAX_HEADER:
            raise BadInput(f"{path.name}: not a safetensors file")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise BadInput(f"{path.name}: not a safetensors file") from error
    if not isinstance(header, dict):
        raise BadInput(f"{path.name}: not a safetensors file")
    header.pop("__metadata__", None)
    return header


def count_parameters(path: Path) -> int:
    """Return the number of weights in a safetensors file. Tied weights count once, as they are stored."""
    return sum(tensor_size(tensor) for tensor in read_header(path).values())


def tensor_size(tensor: Mapping[str, Any]) -> int:
    """Return the number of elements of one tensor of a header."""
    return prod(int(extent) for extent in tensor.get("shape", []))
