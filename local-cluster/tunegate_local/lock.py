"""One command at a time: two that start, stop or build together would undo each other."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunegate_local.progress import say

FILE = ".lock"


@contextmanager
def held(directory: Path, what: str) -> Iterator[None]:
    """Hold the lock of a directory; a second command waits and says so."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another command works on the {what}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
