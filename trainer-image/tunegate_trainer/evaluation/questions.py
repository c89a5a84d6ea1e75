"""The frozen questions and the training rows that cheap alternatives may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate.api.stage.configs import DatasetInput, SuiteInput
from tunegate_trainer.data.rows import Row, read_sound_rows
from tunegate_trainer.data.shards import open_dataset, open_suite
from tunegate_trainer.data.splitting import split
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.suite_checks import broken_answers, foreign_answers

LONGEST_SYSTEM_PROMPT = 8192
"""Characters; as long as ``AskedAs`` takes."""


@dataclass(frozen=True)
class Suite:
    """Questions in the order of the file; ``groups`` are what the bootstrap resamples."""

    rows: Sequence[Row]
    groups: Sequence[str]
    digest: str
    """Of the suite's spec, with the questions that were read."""

    @property
    def expected(self) -> list[str]:
        return [row.answer for row in self.rows]


@dataclass(frozen=True)
class Training:
    """Rows of the training split: the development split and the suite stay unseen."""

    rows: Sequence[Row]
    groups: Sequence[str]
    digest: str


def load_suite(suite: SuiteInput, scratch: Path) -> Suite:
    """Read the suite's file. Raises ``BadInput`` unless it is the frozen one and every expected answer can be judged."""
    shards, digest = open_suite(suite, scratch)
    rows = read_sound_rows(shards)
    if foreign := foreign_answers(rows, suite.spec.task):
        raise BadInput(f"suite {suite.name}: the answer of row {foreign[0]} is none of task.labels")
    if broken := broken_answers(rows, suite.spec.task):
        raise BadInput(f"suite {suite.name}: the answer of row {broken[0]} is not JSON")
    return Suite(rows, [row.group(suite.spec.data.group_field) for row in rows], digest)


def load_training(dataset: DatasetInput, scratch: Path, *, development_fraction: str, seed: int) -> Training:
    """Read the training data and keep the training split. Raises ``BadInput`` when it is not the promised data."""
    shards, found = open_dataset(dataset, scratch)
    rows = read_sound_rows(shards)
    development = split(rows, dataset.group_field, seed, float(development_fraction))
    kept = [row for row, aside in zip(rows, development, strict=True) if not aside]
    return Training(kept, [row.group(dataset.group_field) for row in kept], found)


def shared_system_prompt(suite: Suite) -> str | None:
    """Return the system turn that all questions begin with; None where they differ or it is longer than the API allows."""
    first = {_system_prompt(row) for row in suite.rows}
    prompt = first.pop() if len(first) == 1 else None
    return prompt if prompt is not None and len(prompt) <= LONGEST_SYSTEM_PROMPT else None


def _system_prompt(row: Row) -> str | None:
    turn = row.messages[0]
    return str(turn["content"]) if turn["role"] == "system" else None
