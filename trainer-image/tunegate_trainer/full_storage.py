"""Tells a full disk from other errors: libraries that write weights say it in words of their own, if they say it at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
WORDS = ("no space left on device", "disk quota exceeded", "os error 28", "os error 122")
"""What safetensors (Rust) and torch write into errors that carry no number."""
LEAST_BYTES = 1024 * 1024
"""With less room than this a write that failed, failed for want of it: torch only says that writing failed."""


def storage_full(error: BaseException, *places: Path) -> bool:
    """Tell whether ``error`` came because a disk is full; ``places``: the folders that were written to."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            return True
        if any(word in str(cause).lower() for word in WORDS):
            return True
    written = isinstance(error, OSError | RuntimeError)
    return written and any(free_bytes(place) < LEAST_BYTES for place in places if place.is_dir())


def free_bytes(folder: Path) -> int:
    """Return how many bytes can be written below ``folder``."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def where_full(workspace: Path) -> str:
    """Say which storage is full."""
    if workspace.is_dir() and free_bytes(workspace) < LEAST_BYTES:
        return "the workspace has no room left: it holds checkpoints, the adapter and redacted data. Use a larger workspace.size"
    return "the storage that the pod writes to has no room left (see the pod's log)"


def causes(error: BaseException) -> Iterator[BaseException]:
    """Return an error and what led to it, the outermost first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
