"""Questions split off a file of rows: whole groups, chosen by what is in them, so that the same rows give the same split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.cli.failure import CommandFailure, WrongUsage

if TYPE_CHECKING:
    from tunegate_trainer.data.rows import Row

TRAINING, QUESTIONS = "train.jsonl", "questions.jsonl"
SEED = 17
LEAST_LEFT = 2
"""Times as many rows as questions that must be left to train on."""


@dataclass(frozen=True)
class Split:
    """How many rows each side has."""

    training: int
    questions: int


def split(file: Path, rows: Sequence[Row], wanted: int, group_field: str | None, folder: Path) -> Split:
    """Write both files: no group, and without a field of groups no copy of a question, is on both sides.

    Raises ``WrongUsage`` for a file that cannot be split, ``CommandFailure`` where too few rows would be left.
    """
    from tunegate_trainer.checks.leakage import asked
    from tunegate_trainer.data.splitting import group_key

    if not file.is_file() or file.suffix != ".jsonl":
        raise WrongUsage(f"--split takes a plain .jsonl file: {file} is none. Split it yourself, and give --questions")
    groups: dict[int, list[Row]] = {}
    for row in rows:
        group = row.group(group_field) if group_field else f"question {asked(row)}"
        groups.setdefault(group_key(group, SEED), []).append(row)
    chosen: set[int] = set()
    for key in sorted(groups):
        if len(chosen) < wanted:
            chosen |= {row.number for row in groups[key]}
    left = len(rows) - len(chosen)
    if left < LEAST_LEFT * len(chosen):
        raise CommandFailure(
            f"of {len(rows)} rows {left} would be left to train on beside {len(chosen)} questions: give more rows, or a smaller --split"
        )
    lines = file.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].rstrip(b"\r\n") + b"\n"
    for name, kept in ((TRAINING, False), (QUESTIONS, True)):
        with (folder / name).open("xb") as target:
            target.writelines(line for number, line in enumerate(lines, 1) if (number in chosen) is kept)
    return Split(left, len(chosen))
