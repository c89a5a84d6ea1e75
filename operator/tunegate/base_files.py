"""A base model's files: hashed in full, and afterwards told apart from whatever is put in their place.

Sizes say nothing: other weights of the same architecture have the same sizes. So every byte is hashed at every start of a
pod, in threads over the files, since hashlib releases the interpreter lock. What the engine reads afterwards it reads from
the same volume, at its own time. Therefore each file's identity (device, inode, size, times of change) is taken from the
very descriptor that was hashed, and is compared again whenever a result is to count: a file that was swapped, or written
to, and put back meanwhile has another change time, which no program can set.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tunegate.api.manifest import FileEntry, FileIdentity, HashedFolder, Manifest
from tunegate.digests import manifest_digest

PIECE = 4 * 1024 * 1024
"""Bytes that a thread hashes at a time."""
MOST_THREADS = 16
Show = Callable[[int, int], None]
"""Progress: bytes hashed so far, bytes in all."""


class ChangedMeanwhile(Exception):
    """A file changed while it was read; the message names it."""


def changed(folder: HashedFolder) -> str | None:
    """Return the name of a file that is not the hashed one any more, or None."""
    root = Path(folder.root)
    for file in folder.files:
        try:
            now = _identity(file.path, (root / file.path).stat())
        except OSError:
            return file.path
        if now != file:
            return file.path
    return None


def hash_folder(
    root: Path, files: Sequence[Path], *, threads: int | None = None, show: Show = lambda done, total: None
) -> HashedFolder:
    """Hash ``files`` of ``root`` in threads, by default one for each processor.

    Raises ``ChangedMeanwhile``, or ``OSError`` for what cannot be read.
    """
    sizes = {path: path.stat().st_size for path in files}
    total, done = sum(sizes.values()), 0
    hashed: list[tuple[FileEntry, FileIdentity]] = []
    with ThreadPoolExecutor(threads or thread_count()) as pool:
        # The largest first: otherwise the last one keeps one thread busy while the others have nothing left.
        order = sorted(files, key=sizes.__getitem__, reverse=True)
        futures = [pool.submit(_hash, root, path) for path in order]
        for future in as_completed(futures):
            hashed.append(future.result())
            done += hashed[-1][0].size
            show(done, total)
    hashed.sort(key=lambda pair: pair[0].path)
    manifest = Manifest(files=[entry for entry, _ in hashed])
    return HashedFolder(
        root=str(root),
        manifest=manifest,
        manifest_digest=manifest_digest(manifest),
        files=[identity for _, identity in hashed],
    )


def thread_count() -> int:
    """Return how many threads hash at a time: the processors of the container, at most ``MOST_THREADS``."""
    return min(MOST_THREADS, len(os.sched_getaffinity(0)))


def differing(found: HashedFolder, promised: Manifest) -> str | None:
    """Return the first file of ``promised`` that ``found`` lacks or has with other bytes and how, or None."""
    have: Mapping[str, FileEntry] = {entry.path: entry for entry in found.manifest.files}
    for entry in promised.files:
        there = have.get(entry.path)
        if there is None:
            return f"{entry.path} is missing"
        if there.size != entry.size:
            return f"{entry.path} has {there.size} bytes, the catalogue says {entry.size}"
        if there != entry:
            return f"{entry.path} has other bytes than the catalogue admitted"
    return None


def _hash(root: Path, path: Path) -> tuple[FileEntry, FileIdentity]:
    name = path.relative_to(root).as_posix()
    digest = hashlib.sha256()
    piece = memoryview(bytearray(PIECE))
    size = 0
    with path.open("rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        while count := stream.readinto(piece):
            digest.update(piece[:count])
            size += count
        after = os.fstat(stream.fileno())
    identity = _identity(name, after)
    if identity != _identity(name, before) or size != after.st_size:
        raise ChangedMeanwhile(f"{name} changed while it was hashed")
    return FileEntry(path=name, size=size, sha256=digest.hexdigest()), identity


def _identity(name: str, facts: os.stat_result) -> FileIdentity:
    return FileIdentity(
        path=name,
        device=facts.st_dev,
        inode=facts.st_ino,
        size=facts.st_size,
        modified_ns=facts.st_mtime_ns,
        changed_ns=facts.st_ctime_ns,
    )
