"""Hash stage: read a base model once, in parallel, into the manifest by which everything later names it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from tunegate.api.manifest import HashedFolder
from tunegate.api.stage.configs import HashConfig
from tunegate.api.stage.findings import Finding
from tunegate.api.stage.results import HashResult
from tunegate.base_files import ChangedMeanwhile, hash_folder
from tunegate_trainer import base_settings
from tunegate_trainer.base_weights import Weights, read_weights
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput, InputChanged
from tunegate_trainer.findings import block
from tunegate_trainer.inputs import SECOND_FORMAT, model_files

log = logging.getLogger(__name__)

DOCUMENTS = frozenset({"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"})


def run(config: HashConfig, context: StageContext) -> HashResult:
    """Return the manifest and the number of weights, or a refusal that names what doesn't belong there."""
    started = time.monotonic()
    folder = Path(config.path)
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder")
    files, foreign = model_files(folder)
    findings = _check_content(folder, files, foreign)
    weights = read_weights(folder) if all(finding.check != "Links" for finding in findings) else Weights()
    findings += weights.findings
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
        parameters=weights.parameters,
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
    """Return what is wrong with the files besides the weights. Raises ``BadInput`` for a file that cannot be read."""
    findings = list(_check_foreign(folder, foreign))
    if any(finding.check == "Links" for finding in findings):
        return findings  # what the links stand for would be said to be missing
    names = {path.name for path in files}
    documents, broken = _read_documents(folder, names)
    findings += broken
    if "config.json" not in names:
        findings.append(block("Configuration", "no config.json"))
    elif documents.get("config.json", {}).get("auto_map"):
        findings.append(block("Code", "config.json asks for code of its own (auto_map): it never runs here"))
    if not names & {"tokenizer.json", "tokenizer.model"}:
        findings.append(block("Tokenizer", "no tokenizer.json or tokenizer.model"))
    if not broken:
        try:
            base_settings.chat_template(folder)
        except BadInput as problem:
            findings.append(block("ChatTemplate", problem.message.removeprefix("base model: ")))
    return findings


def _check_foreign(folder: Path, foreign: list[str]) -> Iterator[Finding]:
    links = [name for name in foreign if (folder / name).is_symlink()]
    second = [name for name in foreign if name not in links and name.startswith(SECOND_FORMAT)]
    others = [name for name in foreign if name not in links and name not in second]
    if links:
        message = f"links, not files: {_listed(links)}. Copy the folder with `cp -rL`, which copies what they stand for"
        yield block("Links", message, count=len(links))
    if second:
        message = (
            f"{_listed(second)}: weights in Mistral's own format. The engine would load these and training the others: "
            "remove them, and keep those in the format of transformers"
        )
        yield block("Files", message, count=len(second))
    if others:
        allowed = "safetensors weights, JSON, tokenizer files and chat templates"
        message = f"{_listed(others)}: a base model's folder may hold {allowed} only"
        yield block("Files", message, count=len(others))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5])


def _read_documents(folder: Path, names: set[str]) -> tuple[dict[str, dict[str, object]], list[Finding]]:
    """Return the JSON objects that both libraries read, and which of them are none."""
    documents: dict[str, dict[str, object]] = {}
    findings = []
    for name in sorted(names & DOCUMENTS):
        try:
            document = json.loads((folder / name).read_bytes())
        except OSError as error:
            raise BadInput(f"base model: {name} cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            documents[name] = document
        else:
            findings.append(block("Configuration", f"{name} is not a JSON object, or cut short: copy it again"))
    return documents, findings
