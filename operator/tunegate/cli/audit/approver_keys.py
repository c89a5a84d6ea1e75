"""Public keys of approvers that somebody collected in a folder: `NAME.pem`, one key or more, by user name or person-id."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from tunegate.keys import PublicKey
from tunegate.regular_files import read_regular

BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n?", re.DOTALL)


def read(folder: Path) -> dict[str, list[PublicKey]]:
    """Return the keys by name. In file names `%2F` is a slash, and so on. Raises ``OSError`` or ``ValueError``."""
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".pem")
    if not paths:
        raise ValueError(f"{folder}: holds no file NAME.pem, NAME being an approver's user name or person-id")
    return {unquote(path.stem): _keys(path) for path in paths}


def _keys(path: Path) -> list[PublicKey]:
    blocks = BLOCK.findall(read_regular(path))
    if not blocks:
        raise ValueError(f"{path}: holds no public key in PEM form")
    try:
        return [PublicKey.from_pem(block) for block in blocks]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
