"""PullData stage: copy pushed data from the registry into the pod's folder, before anything reads it.

Manifest and parts are verified by their digests. Whoever reads the copy hashes it again, as it does for every source.
"""

from __future__ import annotations

import logging
import re
from itertools import groupby
from pathlib import Path

from tunegate.api.pushed import DATA_TYPE, PART_TYPE, PATH, PushedPlace
from tunegate.api.stage.configs import PullDataConfig
from tunegate.logs import event
from tunegate.registry.artifact import Layer
from tunegate.registry.pushed import read_push
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput, Unavailable
from tunegate_trainer.full_storage import NO_ROOM

log = logging.getLogger(__name__)


def run(config: PullDataConfig, context: StageContext) -> None:
    """Copy everything to its place. Raises as ``pull`` does, for what is required."""
    for one in config.pulls:
        try:
            pull(one.uri, Path(one.path), config.max_bytes, config.too_large, context)
        except BadInput as end:
            if one.required:
                raise
            log.warning("not pulled: %s", end.message, extra=event("PullLeftOut", uri=one.uri, problem=end.message))


def pull(uri: str, root: Path, max_bytes: int, too_large: str, context: StageContext) -> None:
    """Copy the file, or the folder of files, to ``root``; ``too_large``: what to do about more than ``max_bytes``.

    Raises ``BadInput``, a registry failure, and ``Unavailable`` when the disk is full.
    """
    place = PushedPlace.of(uri)
    pushed = read_push(context.registry, place)
    if pushed is None:
        raise BadInput(f"{uri}: nothing was pushed there")
    if pushed.withdrawn_by is not None:
        raise BadInput(f"{uri}: {pushed.withdrawn_by} withdrew the data")
    layers = context.registry.pull_artifact(place.repository, place.digest).layers
    total = sum(layer.size for layer in layers)
    if total > max_bytes:
        raise BadInput(f"{uri} has {total} bytes, at most {max_bytes} are read: {too_large}")
    files = [(path, list(parts)) for path, parts in groupby(layers, key=lambda layer: layer.title)]
    _check(uri, files)
    done = 0
    for path, parts in files:
        target = root if pushed.file is not None else root / path
        try:
            done = _join(context, place.repository, parts, target, (done, total))
        except OSError as error:
            if error.errno in NO_ROOM:
                raise Unavailable(f"{uri}: the node's disk has no room for the data") from error
            raise
    log.info("pulled", extra=event("DataPulled", files=len(files), bytes=total))


def _check(uri: str, files: list[tuple[str, list[Layer]]]) -> None:
    paths = [path for path, _ in files]
    types = {part.media_type for _, parts in files for part in parts}
    if (
        not paths
        or len(set(paths)) != len(paths)
        or types != {PART_TYPE}
        or not all(re.match(PATH, one) for one in paths)
    ):
        raise BadInput(f"{uri}: its files are not those of {DATA_TYPE}")


def _join(context: StageContext, repository: str, parts: list[Layer], target: Path, progress: tuple[int, int]) -> int:
    """Write the parts of a file one after the other; return how many bytes were pulled in all."""
    done, total = progress
    target.parent.mkdir(parents=True, exist_ok=True)
    piece = context.places.run / "part"
    with target.open("wb") as whole:
        for part in parts:
            context.registry.download(repository, part, piece)
            whole.write(piece.read_bytes())
            piece.unlink()
            done += part.size
            context.progress.show(100 * done / max(1, total), "pulling what was pushed")
    return done
