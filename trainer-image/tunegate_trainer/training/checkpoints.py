"""Checkpoints that can be trusted: complete ones carry a manifest, written last; broken ones are moved out of the way.

transformers takes the newest folder, and a folder that was cut short by a kill makes it fail at every start. So the
choice is made here.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from tunegate import digests
from tunegate_trainer.files import sync

log = logging.getLogger(__name__)

SEAL = "tunegate.json"
PREFIX = "checkpoint-"
QUARANTINE = "broken-"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    folder: Path
    step: int
    tokens: int
    """Training tokens up to this step, over all attempts and processes."""
    world_size: int


def seal_checkpoint(folder: Path, *, step: int, tokens: int, world_size: int) -> None:
    """Write the manifest of a checkpoint whose files are all there, and force everything to the disk."""
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
    draft.write_text(json.dumps(document))
    sync(draft)
    draft.replace(folder / SEAL)
    sync(folder)


def newest_complete(root: Path) -> Checkpoint | None:
    """Return the newest checkpoint of ``root`` whose bytes are those of its manifest; move newer, broken ones aside."""
    if not root.is_dir():
        return None
    for folder in sorted(root.glob(f"{PREFIX}*"), key=_step, reverse=True):
        found = _read(folder)
        if found is not None:
            return found
        aside = root / f"{QUARANTINE}{folder.name}-{int(time.time())}"
        folder.rename(aside)
        log.warning("checkpoint is incomplete or damaged: moved aside", extra={"checkpoint": aside.name})
    return None


def _step(folder: Path) -> int:
    number = folder.name.removeprefix(PREFIX)
    return int(number) if number.isdigit() else -1


def _read(folder: Path) -> Checkpoint | None:
    try:
        document = json.loads((folder / SEAL).read_bytes())
        for entry in document["files"]:
            if digests.file_entry(folder, folder / entry["path"]).to_dict() != entry:
                return None
        return Checkpoint(folder, int(document["step"]), int(document["tokens"]), int(document["worldSize"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
