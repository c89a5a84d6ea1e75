"""The list of the folder's files. Its own digest names the folder, whatever the version that reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ValidationError

from tunegate import __version__
from tunegate.api.manifest import FileEntry
from tunegate.api.markers import Digest, StrictModel
from tunegate.digests import sha256
from tunegate.errors import wrong_fields
from tunegate.evidence import layout
from tunegate.evidence.layout import Files
from tunegate.evidence.story import Difference


class IndexedRelease(StrictModel):
    """Which release the folder is about."""

    namespace: str
    name: str
    uid: str
    digest: Digest


class Index(StrictModel):
    """Every file of the folder but the index itself."""

    kind: Literal["EvidenceIndex"] = "EvidenceIndex"
    version: Literal[1] = 1
    written_by: str
    """Version of Tunegate: another one may word the files that are made from the sources in another way."""
    release: IndexedRelease
    ledger_head: str
    files: list[FileEntry]

    @property
    def content(self) -> bytes:
        """The bytes of `index.json`."""
        return pretty(self.to_dict())


def pretty(document: Any) -> bytes:
    """Return a JSON document for people and machines; equal documents, equal bytes."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def entries(files: Files) -> list[FileEntry]:
    """Return what an index says of files."""
    return [
        FileEntry(path=path, size=len(content), sha256=sha256(content).removeprefix("sha256:"))
        for path, content in sorted(files.items())
        if path != layout.INDEX
    ]


def make(files: Files, release: IndexedRelease, head: str) -> Index:
    """Return the index of a folder."""
    return Index(written_by=__version__, release=release, ledger_head=head, files=entries(files))


def check(files: Files, noted: str | None) -> tuple[Index | None, list[Difference]]:
    """Return the folder's index, if it can be read, and where it differs from the files or from the digest noted."""
    content = files.get(layout.INDEX)
    if content is None:
        return None, [Difference(layout.INDEX, "is missing")]
    found = []
    if noted is not None and sha256(content) != noted:
        found.append(Difference(layout.INDEX, f"its SHA-256 is {sha256(content)}, the one that you noted is {noted}"))
    try:
        index = Index.model_validate_json(content)
    except ValidationError as error:
        return None, [*found, Difference(layout.INDEX, f"cannot be read: {wrong_fields(error)}")]
    if index.content != content:
        found.append(Difference(layout.INDEX, "is not as it was written: order, spaces or fields"))
    return index, [*found, *_against(index.files, entries(files))]


def _against(stated: Sequence[FileEntry], present: Sequence[FileEntry]) -> list[Difference]:
    """Compare the index with the files that are there."""
    said, is_ = ({entry.path: entry for entry in some} for some in (stated, present))
    found = [Difference(path, "is missing") for path in sorted(said.keys() - is_.keys())]
    found += [
        Difference(path, f"does not belong here: {layout.INDEX} does not list it")
        for path in sorted(is_.keys() - said.keys())
    ]
    found += [
        Difference(path, f"its SHA-256 is {is_[path].sha256}, {layout.INDEX} says {said[path].sha256}")
        for path in sorted(said.keys() & is_.keys())
        if said[path] != is_[path]
    ]
    if not found and list(stated) != list(present):
        found.append(Difference(layout.INDEX, "lists a file twice, or in another order"))
    return found
