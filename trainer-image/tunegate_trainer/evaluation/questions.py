"""The frozen questions and the training rows that cheap alternatives may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate.api.stages import DatasetInput, SuiteInput
from tunegate_trainer.data.rows import Row, read_rows
from tunegate_trainer.data.splitting import split
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.normalization import NotJson, normalize_label, parse_json
from tunegate_trainer.inputs import check_dataset, check_suite


@dataclass(frozen=True)
class Suite:
    """Questions in the order of the file; ``groups`` are what the bootstrap resamples."""

    rows: Sequence[Row]
    groups: Sequence[str]

    @property
    def expected(self) -> list[str]:
        return [row.answer for row in self.rows]


@dataclass(frozen=True)
class Training:
    """Rows of the training split: the development split and the suite stay unseen."""

    rows: Sequence[Row]
    groups: Sequence[str]
    digest: str


def load_suite(suite: SuiteInput) -> Suite:
    """Read the suite's file. Raises ``BadInput`` unless it is the frozen one and every expected answer can be judged."""
    rows = _rows(check_suite(suite), f"suite {suite.name}")
    task = suite.spec.task
    labels = {normalize_label(label) for label in task.labels}
    for row in rows:
        if labels and normalize_label(row.answer) not in labels:
            raise BadInput(f"suite {suite.name}: the answer of row {row.number} is none of task.labels")
        if task.json_schema:
            try:
                parse_json(row.answer)
            except NotJson as error:
                raise BadInput(f"suite {suite.name}: the answer of row {row.number} is not JSON") from error
    return Suite(rows, [row.group(suite.spec.data.group_field) for row in rows])


def load_training(dataset: DatasetInput, *, development_fraction: str, seed: int) -> Training:
    """Read the training file and keep the training split. Raises ``BadInput`` when it is not the promised file."""
    path, found = check_dataset(dataset)
    rows = _rows(path, "data set")
    groups = [row.group(dataset.group_field) for row in rows]
    kept = split(groups, float(development_fraction), seed).training
    return Training([rows[at] for at in kept], [groups[at] for at in kept], found)


def last_user_turn(row: Row) -> str:
    """Return the text that alternatives without a language model look at."""
    return next(turn["content"] for turn in reversed(row.messages) if turn["role"] == "user")


def _rows(path: Path, what: str) -> list[Row]:
    rows, broken = read_rows(path)
    if broken:
        raise BadInput(f"{what}: row {broken[0].number}: {broken[0].problem} ({len(broken)} broken rows)")
    if not rows:
        raise BadInput(f"{what}: no rows")
    return rows
