"""Anchors: places outside the cluster's own store that keep checkpoints, so that a ledger rolled back or made again shows."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from tunegate.deadlines import ANCHOR_SECONDS, ANCHORS_SECONDS, MLFLOW_ANCHOR_SECONDS, Threads
from tunegate.errors import Terminal, Transient
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.seal import KeyRing, read_seal
from tunegate.logs import event
from tunegate.tracking.mlflow import Tracking

logger = logging.getLogger(__name__)

PREFIX, SUFFIX, STAMP = "checkpoint-", ".json", ".tsr"


@dataclass(frozen=True)
class Checkpoint:
    """What a place keeps: the envelope over ``size`` records and, where an authority stamped it, its token."""

    size: int
    text: str
    token: bytes | None = None
    """Response of a time stamping authority (RFC 3161) over the envelope's bytes."""

    @classmethod
    def of(cls, text: str) -> Checkpoint:
        """Take an envelope. Raises ``ValueError``."""
        return cls(int(read_seal(text).content["size"]), text)

    @property
    def name(self) -> str:
        """Name of its file: by size, and by content, since after a restored backup sizes come again."""
        return f"{PREFIX}{self.size:010d}-{sha256(self.text.encode()).hexdigest()[:8]}{SUFFIX}"

    @property
    def stamp_name(self) -> str:
        """Name of the file of its token."""
        return self.name.removesuffix(SUFFIX) + STAMP


class AnchorPlace(Protocol):
    """Somewhere that keeps checkpoints. Both verbs raise ``Transient`` or ``Terminal``."""

    name: str
    takes_tokens: bool

    async def keep(self, checkpoint: Checkpoint) -> None:
        """Keep it; keeping it again changes nothing."""

    async def read(self) -> list[Anchor]:
        """Return what is kept, the newest at least."""


class FolderAnchor:
    """A folder of a mounted volume, best one whose files cannot be changed (WORM). Files are made, never written over."""

    name = "folder"
    takes_tokens = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = Threads(f"the anchors' folder {folder}", 2)

    async def keep(self, checkpoint: Checkpoint) -> None:
        await self._threads.call(ANCHOR_SECONDS, self._keep, checkpoint)

    async def read(self) -> list[Anchor]:
        """A file without content is left out: its writing was cut short."""
        try:
            found = await self._threads.call(ANCHORS_SECONDS, read_folder, self._folder)
            return [anchor for anchor in found if anchor.text]
        except (OSError, ValueError) as error:
            raise Transient(f"the anchors of {self._folder} cannot be read: {error}") from error

    def _keep(self, checkpoint: Checkpoint) -> None:
        text, path = checkpoint.text.encode(), self._folder / checkpoint.name
        try:
            if not _made(path, text) and path.read_bytes() != text:
                raise Terminal("AnchorContradicts", f"{path} holds something else than its name says: it was changed")
            if checkpoint.token is not None:
                _made(self._folder / checkpoint.stamp_name, checkpoint.token)
        except OSError as error:
            raise Transient(f"checkpoint not kept in {self._folder}: {error.strerror or error}") from error


def _made(path: Path, content: bytes) -> bool:
    """Make a file; tell whether it was not there."""
    try:
        with path.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError:
        return False
    return True


class MlflowAnchor:
    """A tag in MLflow: the newest checkpoint only, for the eyes and for who copies MLflow's database elsewhere.

    Others can write there. So only what our key signed is believed, and nobody waits for it.
    """

    name = "MLflow"
    takes_tokens = False

    def __init__(self, tracking: Tracking, keys: KeyRing) -> None:
        self._tracking = tracking
        self._keys = keys

    async def keep(self, checkpoint: Checkpoint) -> None:
        await self._tracking.record_checkpoint(checkpoint.size, checkpoint.text)

    async def read(self) -> list[Anchor]:
        try:
            async with asyncio.timeout(MLFLOW_ANCHOR_SECONDS):
                text = await self._tracking.read_checkpoint()
            sealed = read_seal(text) if text else None
        except (Transient, TimeoutError, ValueError) as error:
            logger.warning(
                "the ledger is not compared with the checkpoint in MLflow: %s",
                error,
                extra=event("TrackedCheckpointUnread", error=error),
            )
            return []
        if text is None or sealed is None:
            return []
        if not any(key.signed(sealed.envelope) for key in self._keys.publics):
            logger.warning(
                "the checkpoint in MLflow is not signed by the operator's key: it is not compared",
                extra=event("TrackedCheckpointForeign"),
            )
            return []
        return [Anchor("MLflow", text)]


async def read_places(places: Sequence[AnchorPlace]) -> list[Anchor]:
    """Return the checkpoints of all places, in their order. Raises ``Transient`` or ``Terminal`` as they do."""
    found = await asyncio.gather(*(place.read() for place in places))
    return [anchor for anchors in found for anchor in anchors]


def anchor_files(folder: Path) -> list[Path]:
    """Return the files in and below a folder that are named as checkpoints are. Raises ``OSError``."""
    found = sorted(folder.rglob(f"{PREFIX}*{SUFFIX}"))
    if not found:
        next(folder.iterdir(), None)  # A folder that is not there must not pass for an empty one.
    return found


def read_folder(folder: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> list[Anchor]:
    """Return the checkpoints in and below a folder. Raises ``OSError``, and ``ValueError`` for a file that is no text.

    ``read``: where nothing bounds how long a file may take, one that does not wait.
    """
    return [Anchor(path.name, read(path).decode().rstrip("\n")) for path in anchor_files(folder)]
