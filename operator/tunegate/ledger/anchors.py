"""Anchors: places outside the cluster's own store that keep checkpoints, so that a ledger rolled back or made anew shows."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Protocol

from tunegate.errors import Terminal, Transient
from tunegate.ledger.verify import Anchor
from tunegate.tracking.mlflow import Tracking

PATTERN = "checkpoint-*.json"


class AnchorPlace(Protocol):
    """Somewhere that keeps a checkpoint."""

    name: str

    async def keep(self, size: int, text: str) -> None:
        """Keep the envelope over ``size`` records; keeping it again changes nothing. Raises ``Transient`` or ``Terminal``."""


def file_name(size: int) -> str:
    """Return the name of the file that holds the checkpoint over ``size`` records."""
    return f"checkpoint-{size:010d}.json"


class FolderAnchor:
    """A folder of a mounted volume, best one whose files cannot be changed (WORM). Files are made, never written over."""

    name = "folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, size: int, text: str) -> None:
        await asyncio.to_thread(self._keep, self._folder / file_name(size), text)

    def _keep(self, path: Path, text: str) -> None:
        try:
            try:
                with path.open("xb") as stream:
                    stream.write(text.encode())
                    stream.flush()
                    os.fsync(stream.fileno())
            except FileExistsError:
                if path.read_bytes() != text.encode():
                    raise Terminal(
                        "AnchorContradicts",
                        f"{path} already holds another checkpoint over as many records: the ledger was written anew, or "
                        "the folder belongs to another cluster. Run `tunegate audit verify --anchors`",
                    ) from None
        except OSError as error:
            raise Transient(f"checkpoint not kept in {path.parent}: {error.strerror or error}") from error


class MlflowAnchor:
    """A tag in MLflow: the newest checkpoint only, for the eyes and for who copies MLflow's database elsewhere."""

    name = "MLflow"

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    async def keep(self, size: int, text: str) -> None:
        await self._tracking.record_checkpoint(size, text)


def read_folder(folder: Path) -> list[Anchor]:
    """Return the checkpoints that lie in a folder. Raises ``OSError``, and ``ValueError`` for a file that is no text."""
    return [Anchor(path.name, path.read_text().rstrip("\n")) for path in sorted(folder.glob(PATTERN))]
