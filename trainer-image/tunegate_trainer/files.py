"""Files of folders that others fill: read without waiting, and forced to the disk before anything says so."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path


def read_regular(path: Path) -> bytes:
    """Return a file's bytes. Raises ``OSError``, for what is no regular file ``FileNotFoundError``: a pipe would be waited for."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", str(path))
        return stream.read()


def remove(path: Path) -> None:
    """Remove a folder, file or pipe, or nothing, as far as it can be removed: ``rmtree`` alone would wait for a pipe."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
