"""Files of folders that others fill, opened without waiting: a pipe under a file's name would be waited for, without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegular(FileNotFoundError):
    """A pipe, a socket, a device or a folder stands under the name."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ENOENT, "not a regular file", str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; links are followed. Raises ``OSError``, for what is no regular file ``NotRegular``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(path)
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path) -> bytes:
    """Return a file's bytes. Raises as ``open_regular`` does."""
    with open_regular(path) as stream:
        return stream.read()
