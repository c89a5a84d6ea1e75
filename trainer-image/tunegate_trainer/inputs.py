"""The mounted base model: is what lies there what the catalogue admitted, and does it stay there?"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from tunegate import digests
from tunegate.api.manifest import HashedFolder
from tunegate.api.stage.configs import BaseModelInput
from tunegate.base_files import ChangedMeanwhile, differing, hash_folder
from tunegate.logs import event
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput, InputChanged, Unknown
from tunegate_trainer.folders import RECOVERED, readable

log = logging.getLogger(__name__)

MODEL_SUFFIXES = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})
"""Weights, configuration, tokenizer (also SentencePiece and merge lists), chat template."""
SECOND_FORMAT = "consolidated"
"""How the names of weights in Mistral's own format begin. vLLM loads them, and nothing else, where it sees one; transformers
does not know them."""
DOCUMENT_NAMES = frozenset({RECOVERED, "LICENSE", "NOTICE", "USE_POLICY"})
DOCUMENT_SUFFIXES = frozenset({".md", ".pdf", ".png", ".jpg", ".svg"})


def is_document(path: Path) -> bool:
    """Whether a file is for people to read, by its name: neither model nor data."""
    return path.name in DOCUMENT_NAMES or path.suffix.lower() in DOCUMENT_SUFFIXES


def is_model_file(path: Path) -> bool:
    """Whether a base model may have such a file, by its name."""
    foreign = path.name.startswith((".", "adapter_", SECOND_FORMAT))
    return path.suffix in MODEL_SUFFIXES and not foreign and not is_document(path)


def model_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return a base model's files, sorted, and the names of entries that don't belong into its folder.

    Raises ``BadInput`` for a name that is no UTF-8. Hidden entries and documents count as neither. What loads code or other weights when a library sees it
    (pickles, Python, an `adapter_config.json`, weights in a second format) does not belong; nor do folders and links.
    """
    files: list[Path] = []
    foreign: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or is_document(readable("base model", path)):
            continue
        if stat.S_ISREG(path.lstat().st_mode) and is_model_file(path):
            files.append(path)
        else:
            foreign.append(path.name)
    return files, foreign


def check_base_model(model: BaseModelInput, context: StageContext, *, upto: float = 5) -> HashedFolder:
    """Hash the whole model, note it, and watch its files from now on. Raises ``BadInput`` or ``InputChanged``.

    For stages that read the model themselves. ``upto``: where the stage's progress stands afterwards, in percent.
    """

    def show(done: int, total: int) -> None:
        context.progress.show(upto * done / max(1, total), f"base model: {done} of {total} bytes hashed")

    found = hash_base_model(model, show)
    _keep(model, found, context)
    return found


def record_base_model(model: BaseModelInput, context: StageContext) -> None:
    """Hash the whole model before an engine reads it, and leave the record for the stage that follows."""

    def show(done: int, total: int) -> None:
        context.progress.show(100 * done / max(1, total), f"{done} of {total} bytes hashed")
        log.info("base model hashed", extra=event("BaseModelHashed", bytes=done, of=total))

    found = hash_base_model(model, show)
    context.places.base_record.write_text(found.model_dump_json(by_alias=True))


def recorded_base_model(model: BaseModelInput, context: StageContext) -> HashedFolder:
    """Return what was hashed before the engine started, note it and watch it. Raises ``InputChanged`` when it is gone.

    Hashing here would come too late: the engine has read the weights already, and they may have been put back since.
    """
    place = context.places.base_record
    try:
        found = HashedFolder.model_validate_json(place.read_bytes())
    except (OSError, ValidationError) as error:
        raise Unknown(f"{place}: the record of container check-base is missing or unreadable") from error
    if found.root != model.path or found.manifest_digest != model.manifest_digest:
        raise BadInput(f"base model {model.name}: container check-base hashed another model")
    _keep(model, found, context)
    context.notes.settle()
    return found


def hash_base_model(model: BaseModelInput, show: Callable[[int, int], None]) -> HashedFolder:
    """Compare the names and every byte of the folder with the manifest. Raises ``BadInput`` or ``InputChanged``."""
    folder = Path(model.path)
    if digests.manifest_digest(model.manifest) != model.manifest_digest:
        raise BadInput(f"base model {model.name}: the manifest does not have the digest {model.manifest_digest}")
    if not folder.is_dir():
        raise BadInput(f"base model {model.name}: {folder} is not a folder")
    files, foreign = model_files(folder)
    if foreign:
        raise BadInput(f"base model {model.name}: files that were not admitted: {', '.join(foreign[:5])}")
    names = {entry.path for entry in model.manifest.files} ^ {path.name for path in files}
    if names:
        raise BadInput(f"base model {model.name}: files differ from the manifest: {', '.join(sorted(names)[:5])}")
    try:
        found = hash_folder(folder, files, show=show)
    except ChangedMeanwhile as error:
        raise InputChanged(f"base model {model.name}: {error}") from error
    except OSError as error:
        raise BadInput(f"base model {model.name}: cannot be read ({error.strerror})") from error
    if (problem := differing(found, model.manifest)) is not None:
        raise BadInput(f"base model {model.name}: {problem}")
    return found


def _keep(model: BaseModelInput, found: HashedFolder, context: StageContext) -> None:
    context.notes.note(base_model=found.manifest_digest)
    context.notes.watch(f"base model {model.name}", found)
