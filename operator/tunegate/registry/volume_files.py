"""Reads the files of CNCF distribution on its volume, and writes nothing.

Source of the layout: `registry/storage/paths.go` of distribution 3.0.0. Files come and go while they are read: what is gone
when it is looked at is left out, and what cannot be read is named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunegate.api.conditions import rfc3339
from tunegate.registry.client import MAX_MANIFEST
from tunegate.registry.stored import Room, StoredManifest

ROOT = Path("docker/registry/v2")
HEXADECIMAL = frozenset("0123456789abcdef")


def manifests(volume: Path) -> Iterator[StoredManifest]:
    """Yield every manifest of every repository. Raises ``OSError`` where a folder cannot be read."""
    root = volume / ROOT
    for repository in _repositories(root / "repositories"):
        folder = root / "repositories" / repository / "_manifests"
        tags = _tags(folder / "tags")
        for name in sorted(_names(folder / "revisions" / "sha256")):
            link = folder / "revisions" / "sha256" / name / "link"
            try:
                pushed = datetime.fromtimestamp(link.stat().st_mtime, UTC)
            except FileNotFoundError:
                continue  # Deleted: distribution leaves the folder.
            digest = f"sha256:{name}"
            yield _manifest(root, repository, digest, rfc3339(pushed), tags.get(digest, []))


def room(volume: Path, now: datetime) -> Room:
    """Return how full the volume is, and whose bytes are on it. Raises ``OSError``."""
    seen: dict[str, dict[str, int]] = {}
    for stored in manifests(volume):
        seen.setdefault(stored.repository.split("/")[0], {}).update(stored.blobs)
    referenced = {digest for blobs in seen.values() for digest in blobs}
    loose = sum(size for digest, size in _blobs(volume / ROOT / "blobs/sha256") if digest not in referenced)
    uploads = sum(_uploaded(volume / ROOT / "repositories" / name) for name in _with_uploads(volume / ROOT))
    total, free = disk(volume)
    return Room(
        time=rfc3339(now),
        total=total,
        free=free,
        namespaces={name: sum(blobs.values()) for name, blobs in sorted(seen.items())},
        unreferenced=loose + uploads,
    )


def disk(volume: Path) -> tuple[int, int]:
    """Return the bytes of the volume that the registry may use, and how many of them are free. Raises ``OSError``."""
    told = os.statvfs(volume)
    return (told.f_blocks - told.f_bfree + told.f_bavail) * told.f_frsize, told.f_bavail * told.f_frsize


def _repositories(folder: Path, prefix: str = "", mark: str = "_manifests") -> Iterator[str]:
    """Yield the names of all repositories below ``folder`` that have the subfolder ``mark``."""
    for name in sorted(_names(folder)):
        if name.startswith("_"):
            if name == mark:
                yield prefix
            continue
        yield from _repositories(folder / name, f"{prefix}/{name}" if prefix else name, mark)


def _with_uploads(root: Path) -> Iterator[str]:
    return _repositories(root / "repositories", mark="_uploads")


def _uploaded(repository: Path) -> int:
    uploads = repository / "_uploads"
    return sum(_size(uploads / name / "data") or 0 for name in _names(uploads))


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _tags(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for tag in sorted(_names(folder)):
        try:
            found.setdefault((folder / tag / "current/link").read_text().strip(), []).append(tag)
        except FileNotFoundError:
            continue
    return found


def _manifest(root: Path, repository: str, digest: str, pushed: str, tags: list[str]) -> StoredManifest:
    def unreadable(why: str) -> StoredManifest:
        return StoredManifest(repository=repository, digest=digest, pushed=pushed, tags=tags, problem=why)

    path = _blob(root, digest)
    try:
        size = path.stat().st_size
        if size > MAX_MANIFEST:
            return unreadable(f"has {size} bytes, a manifest has at most {MAX_MANIFEST}")
        return StoredManifest.model_validate({
            "repository": repository, "digest": digest, "pushed": pushed, "tags": tags,
            **_said(root, json.loads(path.read_bytes()), {digest: size}),
        })  # fmt: skip
    except FileNotFoundError:
        return unreadable("its bytes are missing on the volume")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return unreadable(f"is no manifest ({type(error).__name__})")


def _said(root: Path, document: dict[str, Any], own: dict[str, int]) -> dict[str, Any]:
    """Return what a manifest or an index says of itself, and how large its blobs are."""
    described = [*document.get("layers", ()), *([document["config"]] if "config" in document else ())]
    sizes = {one["digest"]: _size(_blob(root, one["digest"])) or 0 for one in described}
    return {
        "kind": document.get("artifactType") or document.get("mediaType") or "",
        "subject": (document.get("subject") or {}).get("digest"),
        "manifests": [one["digest"] for one in document.get("manifests", ())],
        "blobs": sizes | own,
    }


def _blobs(folder: Path) -> Iterator[tuple[str, int]]:
    for short in _names(folder):
        for name in _names(folder / short):
            if (size := _size(folder / short / name / "data")) is not None:
                yield f"sha256:{name}", size


def _blob(root: Path, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    if len(name) != 64 or set(name) - HEXADECIMAL:
        raise ValueError("names a blob by something else than a SHA-256 digest")
    return root / "blobs/sha256" / name[:2] / name / "data"


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
