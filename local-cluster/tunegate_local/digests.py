"""One digest over files and words: decides whether something built from them has to be built again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def files_below(path: Path) -> list[Path]:
    """A file itself, or all files below a directory in a fixed order, without what tools leave behind."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and not IGNORED & set(file.parts))


def of(paths: Iterable[Path], words: Iterable[str] = ()) -> str:
    """SHA-256 over the names and bytes of files and over words; hexadecimal."""
    total = hashlib.sha256()
    for path in paths:
        for file in files_below(path):
            total.update(f"{file.relative_to(path.parent)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    for word in words:
        total.update(f"{word}\n".encode())
    return total.hexdigest()
