"""The mounted base model: is what lies there what the catalogue admitted?"""

from __future__ import annotations

import stat
from pathlib import Path

from tunegate import digests
from tunegate.api.stages import BaseModelInput, FileEntry
from tunegate_trainer.endings import BadInput

MODEL_SUFFIXES = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})
"""Weights, configuration, tokenizer (also SentencePiece and merge lists), chat template."""
DOCUMENT_NAMES = frozenset({"lost+found", "LICENSE", "NOTICE", "USE_POLICY"})
DOCUMENT_SUFFIXES = frozenset({".md", ".pdf", ".png", ".jpg", ".svg"})
SMALL = 64 * 1024 * 1024
"""Files up to this size (bytes) are hashed again at every start; larger ones are compared by size."""


def is_document(path: Path) -> bool:
    """Whether a file is for people to read, by its name: neither model nor data."""
    return path.name in DOCUMENT_NAMES or path.suffix.lower() in DOCUMENT_SUFFIXES


def is_model_file(path: Path) -> bool:
    """Whether a base model may have such a file, by its name."""
    return path.suffix in MODEL_SUFFIXES and not path.name.startswith((".", "adapter_")) and not is_document(path)


def model_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return a base model's files, sorted, and the names of entries that don't belong into its folder.

    Hidden entries and documents count as neither. What loads code or other weights when a library sees it
    (pickles, Python, an `adapter_config.json`) does not belong; nor do folders and links out of the folder.
    """
    files: list[Path] = []
    foreign: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or is_document(path):
            continue
        if stat.S_ISREG(path.lstat().st_mode) and is_model_file(path):
            files.append(path)
        else:
            foreign.append(path.name)
    return files, foreign


def check_base_model(model: BaseModelInput) -> Path:
    """Return the model's folder after comparing it with its manifest.

    Names and sizes of all files and the content of the small ones (configuration, tokenizer, template) are compared;
    the weights were hashed when the catalogue admitted the model. Raises ``BadInput``.
    """
    folder = Path(model.path)
    if digests.manifest_digest(model.manifest) != model.manifest_digest:
        raise BadInput(f"base model {model.name}: the manifest does not have the digest {model.manifest_digest}")
    if not folder.is_dir():
        raise BadInput(f"base model {model.name}: {folder} is not a folder")
    files, foreign = model_files(folder)
    if foreign:
        raise BadInput(f"base model {model.name}: files that were not admitted: {', '.join(foreign[:5])}")
    promised = {entry.path: entry for entry in model.manifest.files}
    differing = promised.keys() ^ {path.name for path in files}
    if differing:
        raise BadInput(f"base model {model.name}: files differ from the manifest: {', '.join(sorted(differing)[:5])}")
    for path in files:
        _compare(model.name, folder, path, promised[path.name])
    return folder


def _compare(name: str, folder: Path, path: Path, promised: FileEntry) -> None:
    if path.stat().st_size != promised.size:
        raise BadInput(f"base model {name}: {path.name} has another size than the manifest promises")
    if promised.size <= SMALL and digests.file_entry(folder, path) != promised:
        raise BadInput(f"base model {name}: {path.name} has other bytes than the manifest promises")
