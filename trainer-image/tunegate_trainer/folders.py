"""The files below a folder that people filled: nothing is left out silently because it cannot be reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tunegate_trainer.endings import BadInput

RECOVERED = "lost+found"
"""What the root of every ext4 volume has, and only root may read."""


def files_below(what: str, root: Path, hidden: str = ".") -> list[Path]:
    """Return the files, sorted by path. Names that begin with a character of ``hidden`` and `lost+found` are passed over.

    Raises ``BadInput`` for a folder that would be left out otherwise: a link, or unreadable.
    """
    return sorted(_walk(what, root, hidden))


def _walk(what: str, root: Path, hidden: str) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise BadInput(f"{what}: the folder {_name(root, Path(error.filename))} cannot be read ({error.strerror})")

    for place, folders, files in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if name[0] not in hidden and name != RECOVERED]
        for name in folders:
            if (folder := Path(place, name)).is_symlink():
                raise BadInput(
                    f"{what}: {_name(root, folder)} is a link to a folder, which is not followed: put the files themselves there"
                )
        yield from (readable(what, Path(place, name)) for name in files if name[0] not in hidden)


def readable(what: str, path: Path) -> Path:
    """Return the path. Raises ``BadInput`` for a name that is no UTF-8: no manifest could hold it."""
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{what}: the file name {path.name!a} is not UTF-8: rename the file") from error
    return path


def _name(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix() if folder != root else str(root)
