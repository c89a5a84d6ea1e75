"""Which files a push takes, what they are called in it, and whether their rows can be read."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.api.pushed import ENDINGS, MAX_FILES, PATH, PushedKind, wrong_endings
from tunegate.cli.failure import CommandFailure, WrongUsage

if TYPE_CHECKING:
    from tunegate_trainer.data.shards import Record

NAMED = 5
"""Broken rows that are named."""
LINES = (".jsonl", ".jsonl.gz")
"""What is read without further libraries."""


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine and its path in the push."""

    file: Path
    path: str


def chosen(kind: PushedKind, named: Sequence[str]) -> list[LocalFile]:
    """Return the files that are pushed, in the order of their paths. Raises ``WrongUsage`` for what cannot be one."""
    places = [Path(name) for name in named]
    if any(place.is_dir() for place in places):
        if len(places) > 1:
            raise WrongUsage("give files, or one folder alone")
        found = [
            LocalFile(file, file.relative_to(places[0]).as_posix())
            for file in sorted(places[0].rglob("*"))
            if file.is_file() and not any(part[0] in "._" for part in file.relative_to(places[0]).parts)
        ]
    else:
        found = [LocalFile(file, file.name) for file in places]
    _check(kind, found, named)
    return sorted(found, key=lambda one: one.path)


def _check(kind: PushedKind, found: Sequence[LocalFile], named: Sequence[str]) -> None:
    if not found:
        raise WrongUsage(f"{named[0]}: no files in this folder")
    if len(found) > MAX_FILES:
        raise WrongUsage(
            f"{named[0]}: {len(found)} files, at most {MAX_FILES} are pushed together: put rows into fewer files"
        )
    for one in found:
        if not one.file.is_file():
            raise WrongUsage(f"{one.file}: is not a file")
        if one.file.stat().st_size == 0:
            raise WrongUsage(f"{one.file}: is empty")
        if not re.fullmatch(PATH, one.path) or len(one.path) > 200:
            raise WrongUsage(
                f"{one.file}: a name has letters, digits and . _ = - only, and begins with a letter or digit"
            )
    if wrong := wrong_endings(kind, [one.path for one in found]):
        raise WrongUsage(f"{wrong[0]}: is none of {', '.join(ENDINGS[kind])}")
    paths = [one.path for one in found]
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise WrongUsage(f"{twice[0]}: two files have this name; rename one, or push their folder")


def check_rows(found: Sequence[LocalFile]) -> tuple[int, str]:
    """Read all rows; return how many there are and in which form. Raises ``CommandFailure`` that names broken ones by place.

    Nothing of a row's text is repeated.
    """
    from tunegate_trainer.data.forms import detect
    from tunegate_trainer.data.rows import BrokenRow, make_row

    form, rows, broken = None, 0, []
    for one in found:
        for record in _records(one):
            rows += 1
            if form is None and record.value is not None:
                form = detect(record.value)
            made = make_row(record, form)
            if isinstance(made, BrokenRow):
                broken.append(f"{one.path}, row {record.number}: {made.problem}")
    if broken:
        more = f"\n… and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise CommandFailure(
            f"{len(broken)} of {rows} rows cannot be trained on; nothing was pushed:\n" + "\n".join(broken[:NAMED]) + more
            + "\nCorrect them, or push anyway with --unchecked"
        )  # fmt: skip
    return rows, form or "unknown"


def _records(one: LocalFile) -> Iterator[Record]:
    from tunegate_trainer.data.shards import Record, Shards, parse_line
    from tunegate_trainer.endings import BadInput

    try:
        if not one.path.endswith(LINES):
            yield from Shards("data", one.file, (one.file,)).records()
            return
        with gzip.open(one.file) if one.path.endswith(".gz") else one.file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                yield Record(number, *parse_line(line.rstrip(b"\r\n"), first=number == 1))
    except ImportError as error:
        raise CommandFailure(
            f"{one.path}: reading it here takes the library {error.name}. Install it, or push with --unchecked: validation reads it anyway"
        ) from error
    except (EOFError, zlib.error, OSError) as error:
        raise CommandFailure(f"{one.path}: cannot be read to its end ({type(error).__name__})") from error
    except BadInput as error:
        raise CommandFailure(error.message) from error
