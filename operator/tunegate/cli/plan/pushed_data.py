"""Pushed data on this machine: fetched with the person's own right, verified by digest, and kept by digest for the next time.

The registry is asked each time, also for what is kept: a right that was taken away, and data that was withdrawn, count at once.
What is kept is compared with the digests of the push again before it is read.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.api.numbers import size
from tunegate.api.pushed import Pushed, PushedPlace
from tunegate.cli import config, oci_registry
from tunegate.cli.failure import CommandFailure
from tunegate.registry.artifact import Layer
from tunegate.registry.client import RegistryClient
from tunegate.registry.pushed import read_push

if TYPE_CHECKING:
    from tunegate_trainer.progress import ProgressBoard

MAX_BYTES = 2 << 30
"""Of one data set or of documents, unless the person allows more."""


@dataclass(frozen=True)
class Fetched:
    """What was pushed, and where it lies here: the file, or the folder of files."""

    pushed: Pushed
    path: Path


def cache_folder() -> Path:
    """Return where pushed data is kept: below the user's cache."""
    return config.base_folder("XDG_CACHE_HOME", ".cache") / "tunegate/pushed"


def fetch(uris: Iterable[str], options: Namespace, board: ProgressBoard) -> Mapping[str, Fetched]:
    """Return what lies at addresses in the registry. Raises ``CommandFailure`` for what is not there, not allowed or too large."""
    wanted = [PushedPlace.of(uri) for uri in uris]
    if not wanted:
        return {}
    with oci_registry.opened(options) as registry:
        return {place.uri: _one(registry, place, options, board) for place in wanted}


def _one(registry: RegistryClient, place: PushedPlace, options: Namespace, board: ProgressBoard) -> Fetched:
    pushed = read_push(registry, place)
    if pushed is None:
        raise CommandFailure(f"nothing was pushed at {place.uri}. `tunegate data list` shows what was")
    if pushed.withdrawn_by is not None:
        raise CommandFailure(f"{place.uri}: {pushed.withdrawn_by} withdrew the data")
    return fetched(registry, pushed, options, board)


def fetched(registry: RegistryClient, pushed: Pushed, options: Namespace, board: ProgressBoard) -> Fetched:
    """Return where a push lies here: as it was kept, or fetched now. Raises ``CommandFailure`` and ``RegistryError``."""
    place, most = pushed.place, options.max_download or MAX_BYTES
    layers = registry.pull_artifact(place.repository, place.digest).layers
    kept = cache_folder() / place.digest.replace(":", "-")
    root = _root(kept, place, pushed)
    if not _is_whole(kept, root, layers, one_file=pushed.file is not None):
        _pull(registry, place, pushed, kept, most, board)
    return Fetched(pushed, root)


def _pull(
    registry: RegistryClient, place: PushedPlace, pushed: Pushed, kept: Path, most: int, board: ProgressBoard
) -> None:
    """Fetch as the stage's own container does, beside ``kept``, and put it there when it is whole."""
    from tunegate_trainer import pulling
    from tunegate_trainer.context import Places, StageContext
    from tunegate_trainer.endings import StageEnd

    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="part-", dir=kept.parent) as folder:
        places = Places(**dict.fromkeys(Places.__dataclass_fields__, Path(folder)))
        content = Path(folder) / "content"
        too_large = f"give --max-download, by default {size(MAX_BYTES)}"
        try:
            pulling.pull(
                place.uri, _root(content, place, pushed), most, too_large, StageContext(places, registry, board)
            )
        except StageEnd as end:
            raise CommandFailure(end.message) from end
        shutil.rmtree(kept, ignore_errors=True)
        content.rename(kept)


def _root(folder: Path, place: PushedPlace, pushed: Pushed) -> Path:
    """Return where the file, or the folder of files, lies below the folder of a push."""
    return folder / (pushed.file.rpartition("/")[2] if pushed.file else place.name)


def _is_whole(kept: Path, root: Path, layers: Iterable[Layer], *, one_file: bool) -> bool:
    """Whether the folder has the files of these layers, one part after the other, and nothing else."""
    expected: dict[Path, list[Layer]] = {}
    for layer in layers:
        expected.setdefault(root if one_file else root / layer.title, []).append(layer)
    found = [path for path in kept.rglob("*") if path.is_symlink() or not path.is_dir()]
    if set(found) != set(expected) or any(path.is_symlink() for path in found):
        return False
    return all(_has(path, parts) for path, parts in expected.items())


def _has(file: Path, parts: Iterable[Layer]) -> bool:
    with file.open("rb") as stream:
        for part in parts:
            if "sha256:" + hashlib.sha256(stream.read(part.size)).hexdigest() != part.digest:
                return False
        return not stream.read(1)
