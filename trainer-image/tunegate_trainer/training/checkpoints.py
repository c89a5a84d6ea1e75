"""Checkpoints that can be trusted: whole ones of this job. They carry a manifest, written last, and its seal by the job's key.

A workspace may come from elsewhere: a clone, a volume that somebody prepared. A checkpoint without the job's seal is
another's, whatever it holds, and is put aside: transformers takes the newest folder. One that a kill or a full workspace cut
short holds nothing that anybody needs: it is removed, so that the next one finds room.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunegate import digests
from tunegate.api.manifest import HashedFolder, Manifest
from tunegate.base_files import ChangedMeanwhile, changed, hash_folder
from tunegate.logs import event
from tunegate.regular_files import read_regular
from tunegate_trainer.endings import InputChanged, Unavailable
from tunegate_trainer.files import remove, sync

log = logging.getLogger(__name__)

SEAL = "tunegate.json"
PREFIX = "checkpoint-"
REMOVED = "broken-"
ASIDE = {"Foreign": "foreign-", "Unreadable": "unreadable-"}
"""What the names of folders begin with that are to be removed, or were put aside."""
Unfit = Literal["Broken", "Foreign", "Unreadable"]
"""Why a checkpoint is not read: it is not whole, has no seal of this job, or the volume does not give its bytes."""
WHY: dict[Unfit, str] = {
    "Broken": "incomplete or damaged: removed",
    "Foreign": "not sealed by this job's key: put aside",
    "Unreadable": "the volume cannot read it: put aside",
}
STEP = re.compile("[0-9]{1,18}")
"""In a folder's name. Python's own test for digits takes `²`, too."""
KEY_BYTES = 32


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint of this job."""

    folder: Path
    step: int
    tokens: int
    """Training tokens up to this step, over all attempts and processes."""
    world_size: int
    files: HashedFolder
    """As they were hashed: what is loaded later has to be this."""

    def still(self) -> None:
        """Raise ``InputChanged`` when a file is not the hashed one any more."""
        if (file := changed(self.files)) is not None:
            raise InputChanged(f"{self.folder.name}: {file} was replaced or written to after it was hashed")


@dataclass(frozen=True)
class Found:
    """What lies in the workspace."""

    newest: Checkpoint | None
    foreign: int
    """Folders that look like whole checkpoints and do not carry the job's seal, since this workspace exists."""


def read_key(file: Path) -> bytes:
    """Return the job's key. Raises ``Unavailable``: without it no checkpoint could be told from a foreign one."""
    try:
        key = file.read_bytes()
    except OSError as error:
        raise Unavailable(f"the key of the job's checkpoints cannot be read at {file} ({error.strerror})") from error
    if len(key) < KEY_BYTES:
        raise Unavailable(f"the key of the job's checkpoints at {file} has {len(key)} bytes, {KEY_BYTES} are needed")
    return key


def seal_checkpoint(folder: Path, key: bytes, *, step: int, tokens: int, world_size: int) -> None:
    """Write manifest and seal of a checkpoint whose files are all there, and force everything to the disk."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SEAL]
    for path in files:
        sync(path)
    document = {
        "step": step,
        "tokens": tokens,
        "worldSize": world_size,
        "files": [digests.file_entry(folder, path).to_dict() for path in files],
    }
    draft = folder / f".{SEAL}"
    draft.write_text(json.dumps({**document, "seal": _seal(key, document)}))
    sync(draft)
    draft.replace(folder / SEAL)
    sync(folder)


def newest_complete(root: Path, key: bytes) -> Found:
    """Return the newest checkpoint of ``root`` that is whole and sealed by ``key``.

    Newer ones that are not are removed when they are broken: each takes as much room as a whole one. Others are put aside.
    """
    newest = None
    for folder in sorted(root.glob(f"{PREFIX}*"), key=_step, reverse=True) if root.is_dir() else ():
        found = read_checkpoint(folder, key)
        if isinstance(found, Checkpoint):
            newest = found
            break
        aside = root / f"{ASIDE.get(found, REMOVED)}{folder.name}-{time.time_ns()}"
        folder.rename(aside)
        log.warning("checkpoint is not read", extra=event("CheckpointNotRead", checkpoint=aside.name, why=WHY[found]))
    for broken in root.glob(f"{REMOVED}*") if root.is_dir() else ():
        remove(broken)
    return Found(newest, len(list(root.glob(f"{ASIDE['Foreign']}*"))) if root.is_dir() else 0)


def _step(folder: Path) -> int:
    number = folder.name.removeprefix(PREFIX)
    return int(number) if STEP.fullmatch(number) else -1


def read_checkpoint(folder: Path, key: bytes) -> Checkpoint | Unfit:
    """Return the checkpoint, or why it is none of this job's: the bytes, the names and the seal all have to agree."""
    try:
        document = json.loads(read_regular(folder / SEAL))
        seal = str(document.pop("seal")).encode()
        own = _seal(key, document).encode()
        promised = Manifest.model_validate({"files": document["files"]})
        step, tokens, size = (int(document[name]) for name in ("step", "tokens", "worldSize"))
    except OSError as error:
        return _unfit(error)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return "Broken"
    if not hmac.compare_digest(seal, own) or step != _step(folder):
        return "Foreign"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SEAL]
    try:
        found = hash_folder(folder, files)
    except ChangedMeanwhile:
        return "Broken"
    except OSError as error:
        return _unfit(error)
    if found.manifest_digest != digests.manifest_digest(promised):
        return "Broken"
    return Checkpoint(folder, step, tokens, size, found)


def _unfit(error: OSError) -> Unfit:
    return "Broken" if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) else "Unreadable"


def _seal(key: bytes, document: dict[str, object]) -> str:
    """Return HMAC-SHA256 (RFC 2104) of the RFC 8785 JSON of a checkpoint's manifest."""
    return hmac.new(key, digests.canonical(document), hashlib.sha256).hexdigest()
