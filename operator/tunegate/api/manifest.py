"""Lists of files with their digests: what names the content of a folder."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tunegate.api.markers import Digest, StrictModel


class FileEntry(StrictModel):
    """One file of a manifest."""

    path: str
    size: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(StrictModel):
    """Sorted list of files; its digest (``tunegate.digests.manifest_digest``) names the content."""

    files: list[FileEntry]


class FileIdentity(StrictModel):
    """By what a file is known again without reading it. Times are in nanoseconds."""

    path: str
    """Relative to the folder."""
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class HashedFolder(StrictModel):
    """A folder whose files were hashed, with the identity that each had at that moment."""

    root: str
    manifest: Manifest
    manifest_digest: Digest
    files: list[FileIdentity]
