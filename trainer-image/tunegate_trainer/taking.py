"""An input is read once: copied into the pod's own scratch space while it is hashed. Everything after that reads the copy.

A file on a volume can be swapped between any two readings, also between the one that compares its digest and the one that
uses its rows. The copy lies where nothing outside this pod can write. Base models are too large for this; see
``tunegate.base_files``.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunegate import digests
from tunegate.api.manifest import FileEntry, HashedFolder, Manifest
from tunegate.api.stage.results import StageInputs
from tunegate.base_files import changed
from tunegate_trainer.endings import BadInput, InputChanged, Unavailable
from tunegate_trainer.full_storage import NO_ROOM

PIECE = 4 * 1024 * 1024
"""Bytes that are copied at a time."""


@dataclass(frozen=True)
class Taken:
    """Private copies of an input's files, and what was copied."""

    root: Path
    """The copy of the file, or of the folder with all files."""
    files: tuple[Path, ...]
    manifest: Manifest
    digest: str
    """SHA-256 of the one file, or of a folder the digest of its manifest (names, sizes and SHA-256 of all files)."""


def take(what: str, root: Path, files: Sequence[Path], scratch: Path) -> Taken:
    """Copy ``files`` of ``root``, or the one file that ``root`` is, below ``scratch`` while hashing them.

    Raises ``BadInput`` for a file that is gone and ``Unavailable`` when the node's disk is full.
    """
    place = Path(tempfile.mkdtemp(prefix="taken-", dir=scratch))
    single = tuple(files) == (root,)
    copies = [place / (file.name if single else file.relative_to(root)) for file in files]
    entries = []
    for file, copy in zip(files, copies, strict=True):
        copy.parent.mkdir(parents=True, exist_ok=True)
        entries.append(_take(what, file, copy, place))
    manifest = Manifest(files=entries)
    digest = f"sha256:{entries[0].sha256}" if single else digests.manifest_digest(manifest)
    return Taken(copies[0] if single else place, tuple(copies), manifest, digest)


def _take(what: str, file: Path, copy: Path, place: Path) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    try:
        with file.open("rb") as source, copy.open("wb") as target:
            while piece := source.read(PIECE):
                digest.update(piece)
                target.write(piece)
                size += len(piece)
    except OSError as error:
        if error.errno in NO_ROOM:
            message = f"{what}: the node's disk has no room for the pod's own copy of {file.name}"
            raise Unavailable(message) from error
        raise BadInput(f"{what}: {file.name} cannot be read ({error.strerror or type(error).__name__})") from error
    copy.chmod(0o400)
    return FileEntry(path=copy.relative_to(place).as_posix(), size=size, sha256=digest.hexdigest())


@dataclass
class InputNotes:
    """What this stage has read so far: it becomes ``inputs`` of the result."""

    inputs: StageInputs = field(default_factory=StageInputs)
    _watched: list[tuple[str, HashedFolder]] = field(default_factory=list)

    def note(self, **read: str) -> None:
        """Enter digests of what was read, by their names in ``StageInputs``."""
        self.inputs = StageInputs.model_validate({**self.inputs.model_dump(), **read})

    def watch(self, what: str, folder: HashedFolder) -> None:
        """Remember files that are read where they lie: ``settle`` sees whether they are still the ones that were hashed."""
        self._watched.append((what, folder))

    def settle(self) -> StageInputs:
        """Return what was read, for the result. Raises ``InputChanged`` when a watched file is not the hashed one."""
        for what, folder in self._watched:
            if (file := changed(folder)) is not None:
                raise InputChanged(f"{what}: {file} was replaced or written to after it was hashed")
        return self.inputs
