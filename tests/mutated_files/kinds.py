"""A kind of file that Tunegate reads from people: where such files come from, how they are read, and what a refusal names."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.mutated_files.mutations import damage, mutated

Files = Mapping[str, bytes]
"""Contents by path below a folder."""
LONGEST_REFUSAL = 20_000
"""Characters: a refusal may not repeat what it was given."""


class Wrong(Exception):
    """Neither a known refusal that names its place, nor a right reading."""


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    name: str
    make: Callable[[], Files]
    """Returns good files."""
    read: Callable[[Path], str | None]
    """Reads a folder as Tunegate does, and returns its refusal, or None when all was read. Any other exception is a fault."""
    named: str
    """Regular expression of which something has to be in each refusal."""
    one_file: bool = False
    """Only the contents are changed: a person names this file, and a pipe may stand there."""
    reported: bool = False
    """Good files have findings, too."""


def scratch(folder: Path) -> Path:
    """Return a place of its own for the reader of a folder."""
    place = folder.parent / "scratch"
    place.mkdir(exist_ok=True)
    return place


def try_one(kind: Kind, files: Files, folder: Path, seed: int, number: int) -> str | None:
    """Write mutated files below an empty folder and read them; return the refusal. Raises what reading raises, or ``Wrong``."""
    random = Random(f"{seed}/{kind.name}/{number}")  # noqa: S311 - drawn again the same way each time
    _write(kind, files, folder, random)
    refusal = kind.read(folder)
    if refusal is not None and not re.search(kind.named, refusal):
        raise Wrong(f"a refusal that names no place: {refusal[:300]!r}")
    if refusal is not None and len(refusal) > LONGEST_REFUSAL:
        raise Wrong(f"a refusal of {len(refusal)} characters")
    return refusal


def _write(kind: Kind, files: Files, folder: Path, random: Random) -> None:
    names = sorted(files)
    chosen = {random.choice(names)} | ({random.choice(names)} if random.random() < 0.2 else set())
    damaged = not kind.one_file and random.random() < 0.1
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutated(random, name, content) if name in chosen and not damaged else content)
    if damaged:
        damage(random, folder, min(chosen))


GROUPS = {
    "data": "of_data", "models": "of_models", "stages": "of_stages", "evidence": "of_evidence", "commands": "of_commands",
    "image": "of_tokenizers",
}  # fmt: skip
"""Modules by the name of their kinds' group; `image` needs the libraries of the trainer image."""


def kinds_of(group: str) -> Sequence[Kind]:
    """Return the kinds of a group. The others are not imported: that takes seconds in each process."""
    kinds: Sequence[Kind] = importlib.import_module(f"tests.mutated_files.{GROUPS[group]}").KINDS
    return kinds
