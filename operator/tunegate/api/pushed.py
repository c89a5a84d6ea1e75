"""Data sets, documents and questions of suites that people push into the registry: what they declare, and what is recorded of it.

The bytes lie in parts, as layers of an OCI manifest, in ``<namespace>/<kind>/<name>``. The manifest is written by the exchange alone;
its annotations hold what was declared, and who pushed it as the API server proved them. A record under a tag of
``<namespace>/<kind>`` completes a push, and another one withdraws it. Only the digest names data; no tag does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, TypeAdapter, model_validator

from tunegate.api.markers import DataClass, Day, Digest, ResourceName, StrictModel

PushedKind = Literal["datasets", "documents", "questions"]
"""Also the virtual resources that RBAC speaks of: `create`, `get`, `list`, `delete` on `datasets.tunegate.io` in a namespace."""
KINDS: tuple[PushedKind, ...] = get_args(PushedKind)
SCHEME = "oci://"
AUDIENCE = "tunegate-exchange"
"""Of the Kubernetes tokens by which programs ask the exchange."""
DATA_TYPE = "application/vnd.tunegate.pushed-data.v1"
PART_TYPE = "application/vnd.tunegate.pushed-part.v1"
RECORD_TYPE = "application/vnd.tunegate.push-record.v1"
WITHDRAWN_TYPE = "application/vnd.tunegate.withdrawal.v1"
PART_BYTES = 8 * 1024 * 1024
"""Largest part of a file: what the exchange holds in memory and hashes before it stores it."""
MAX_PARTS = 4096
"""Of one push: its manifest stays below what registries accept (4 MiB)."""
MAX_FILES = 1000
DATA_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
DOCUMENT_ENDINGS = (".md", ".markdown", ".txt")
ENDINGS: Mapping[PushedKind, tuple[str, ...]] = {
    "datasets": DATA_ENDINGS,
    "documents": DOCUMENT_ENDINGS,
    "questions": DATA_ENDINGS,
}
PATH = r"^[A-Za-z0-9][A-Za-z0-9._=-]*(/[A-Za-z0-9][A-Za-z0-9._=-]*)*$"
NAME: TypeAdapter[str] = TypeAdapter(ResourceName)
"""Of what is pushed, as an address has it."""
_PREFIX = "io.tunegate.data."
_URI = re.compile(
    r"oci://(?P<namespace>[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/(?P<kind>datasets|documents|questions)/"
    r"(?P<name>[a-z0-9](?:[-a-z0-9]{0,38}[a-z0-9])?)@(?P<digest>sha256:[0-9a-f]{64})"
)
Line = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]
LongLine = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]


class Declaration(StrictModel):
    """What the person who pushes says of the data. A job that uses it must say the same."""

    classification: DataClass
    license: Line
    source: LongLine
    steward: Line
    expiration_date: Day | None = None


class Part(StrictModel):
    """One piece of a file."""

    digest: Digest
    size: Annotated[int, Field(ge=1, le=PART_BYTES)]


class PushedFile(StrictModel):
    """A file by its path below the data set, and its parts in their order."""

    path: Annotated[str, Field(max_length=200, pattern=PATH)]
    parts: Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS)]


class Push(StrictModel):
    """What completes a push: the files whose parts were stored before, and what is declared of them."""

    declaration: Declaration | None = None
    """None: questions of a suite, which are trained on by nobody; other kinds need one."""
    files: Annotated[list[PushedFile], Field(min_length=1, max_length=MAX_FILES)]

    @model_validator(mode="after")
    def _files_fit_together(self) -> Self:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("files: a path is named twice")
        folders = {path[: found.start()] for path in paths for found in re.finditer("/", path)}
        if folders & set(paths):
            raise ValueError("files: a path is both a file and a folder")
        if sum(len(file.parts) for file in self.files) > MAX_PARTS:
            raise ValueError(f"files: more than {MAX_PARTS} parts")
        return self

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(part.size for file in self.files for part in file.parts)


class PushedPlace(StrictModel):
    """Where pushed data lies: what ``oci://NAMESPACE/datasets/NAME@sha256:…`` says."""

    namespace: str
    kind: PushedKind
    name: ResourceName
    digest: Digest

    @classmethod
    def of(cls, uri: str) -> Self:
        """Read an address. Raises ``ValueError``."""
        found = _URI.fullmatch(uri)
        if found is None:
            raise ValueError(
                f"{uri}: an address in the registry has the form oci://NAMESPACE/datasets/NAME@sha256:… (or /documents/, "
                "/questions/), as `tunegate data push` prints it"
            )
        return cls.model_validate(found.groupdict())

    @property
    def uri(self) -> str:
        """The address."""
        return f"{SCHEME}{self.repository}@{self.digest}"

    @property
    def repository(self) -> str:
        """The repository with the bytes."""
        return f"{self.records}/{self.name}"

    @property
    def records(self) -> str:
        """The repository whose tags say what was pushed and withdrawn."""
        return records_repository(self.namespace, self.kind)

    @property
    def tag(self) -> str:
        """The tag of the record that completes the push."""
        return f"{self.name}.{self.digest.removeprefix('sha256:')}"

    @property
    def withdrawn_tag(self) -> str:
        """The tag of the record that withdraws it."""
        return f"{self.tag}.withdrawn"


class Pushed(StrictModel):
    """One push, as recorded."""

    place: PushedPlace
    declaration: Declaration | None = None
    pushed_by: str
    """User name, as the API server proved it."""
    person_id: str | None = None
    pushed_time: str
    files: int
    bytes: int
    file: str | None = None
    """Path of the only file; None: a folder."""
    withdrawn_by: str | None = None
    withdrawn_time: str | None = None


def records_repository(namespace: str, kind: PushedKind) -> str:
    """Return the repository whose tags say what was pushed in a namespace."""
    return f"{namespace}/{kind}"


def said_of(pushed: Pushed) -> dict[str, str]:
    """Return what the manifest and the record of a push say of it."""
    said = {
        "name": pushed.place.name,
        "pushed-by": pushed.pushed_by,
        "person-id": pushed.person_id,
        "pushed-time": pushed.pushed_time,
        "files": str(pushed.files),
        "bytes": str(pushed.bytes),
        "file": pushed.file,
    }
    if (declared := pushed.declaration) is not None:
        said |= {
            "classification": declared.classification,
            "license": declared.license,
            "source": declared.source,
            "steward": declared.steward,
            "expiration-date": declared.expiration_date,
        }
    return {f"{_PREFIX}{key}": value for key, value in said.items() if value is not None}


def from_annotations(place: PushedPlace, said: Mapping[str, str]) -> Pushed:
    """Return what annotations say of a push. Raises ``ValueError`` for others than the exchange writes."""
    found = {key.removeprefix(_PREFIX): value for key, value in said.items() if key.startswith(_PREFIX)}
    declared = {key: found[key] for key in ("classification", "license", "source", "steward") if key in found}
    return Pushed.model_validate(
        {
            "place": place,
            "declaration": _declaration(place, declared, found.get("expiration-date")),
            "pushed_by": found.get("pushed-by"),
            "person_id": found.get("person-id"),
            "pushed_time": found.get("pushed-time"),
            "files": int(found.get("files", "")),
            "bytes": int(found.get("bytes", "")),
            "file": found.get("file"),
        }
    )


def _declaration(place: PushedPlace, declared: Mapping[Any, str], until: str | None) -> dict[str, str | None] | None:
    """Return what was declared; None for questions, of which nothing is."""
    return None if place.kind == "questions" and not declared else {**declared, "expiration_date": until}


def withdrawal(by: str, time: str) -> dict[str, str]:
    """Return the annotations of the record that withdraws a push."""
    return {f"{_PREFIX}withdrawn-by": by, f"{_PREFIX}withdrawn-time": time}


def withdrawn(pushed: Pushed, said: Mapping[str, str]) -> Pushed:
    """Return the push as withdrawn by what a record says."""
    by, time = said.get(f"{_PREFIX}withdrawn-by", "somebody"), said.get(f"{_PREFIX}withdrawn-time", "")
    return pushed.model_copy(update={"withdrawn_by": by, "withdrawn_time": time})


def wrong_endings(kind: PushedKind, paths: Sequence[str]) -> list[str]:
    """Return the paths whose name does not end as files of this kind do."""
    return [path for path in paths if not path.endswith(ENDINGS[kind])]
