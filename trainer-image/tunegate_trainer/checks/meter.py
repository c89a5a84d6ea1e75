"""One pass over the rows: what every check needs to know of each, as columns of numbers.

Rows are measured apart from each other, so that processes can share the work; what needs all rows at once (repetitions,
contradictions) is calculated from the columns afterwards. About 380 bytes a row are kept, whatever its length, and up to 512
more of one that shares boilerplate with suites.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from tunegate.api.datachecks import DataCheck
from tunegate.api.normalization import normalize_label
from tunegate_trainer.checks import privacy, text
from tunegate_trainer.checks.comparison import Comparison
from tunegate_trainer.checks.leakage import CommonGrams, Questions
from tunegate_trainer.checks.letters import legible
from tunegate_trainer.checks.near_duplicates import PERMUTATIONS, signature
from tunegate_trainer.checks.words import normal, text_hash, words
from tunegate_trainer.data.conversations import ChatTokenizer, ConversationProblem
from tunegate_trainer.data.rows import BrokenRow, Row
from tunegate_trainer.data.splitting import group_key
from tunegate_trainer.data.turns import turn_text

COLUMNS = numpy.dtype(
    [
        ("number", "u4"),
        ("tokens", "u4"),
        ("whole", "u8"),
        ("question", "u8"),
        ("answer", "u8"),
        ("label", "u8"),
        ("group", "u8"),
        ("grouped", "?"),
        ("content", "S32"),
        ("signature", "u2", (PERMUTATIONS,)),
    ]
)
"""`whole`, `question` (tools included), `answer`: hashes of normalized text; `label`: as the evaluation compares labels;
`group`: for the split; `grouped`: whether the row has the field that names its group;
`content`: of ``Row.content``."""

SPARE_ROWS = 65_536
"""Entries by which the columns of a data set grow."""


@dataclass
class Measured:
    """What is known of the rows so far."""

    rows: Any = field(default_factory=lambda: numpy.empty(0, COLUMNS))
    """One entry of ``COLUMNS`` for every row that can be trained on."""
    hits: dict[tuple[DataCheck, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    """Check and kind of problem to row numbers."""
    common: CommonGrams = field(default_factory=lambda: CommonGrams(numpy.empty(0, numpy.uint32)))
    """What the rows share with many questions of a suite."""
    records: int = 0
    """All rows, broken ones included."""


def joined(parts: Iterable[Measured]) -> Measured:
    """Return the parts as one, in their order."""
    whole = Measured()
    filled = 0
    for part in parts:
        start, filled = filled, filled + len(part.rows)
        if filled > len(whole.rows):
            # Grown in place: the parts and what is made of them would lie in memory at the same time.
            whole.rows.resize(filled + SPARE_ROWS, refcheck=False)
        whole.rows[start:filled] = part.rows
        for key, numbers in part.hits.items():
            whole.hits[key] += numbers
        whole.common.extend(part.common)
        whole.records += part.records
    whole.rows.resize(filled, refcheck=False)
    return whole


@dataclass(frozen=True)
class Meter:
    """Measures rows for the checks that are on."""

    tokenizer: ChatTokenizer
    checks: frozenset[DataCheck]
    questions: Questions
    group_field: str | None
    seed: int

    def tokens(self, rows: Sequence[Row | BrokenRow]) -> list[int | ConversationProblem]:
        """Return the tokens of each row that is not broken, or why the template refuses it."""
        return self.tokenizer.count([row for row in rows if isinstance(row, Row)])

    def measure(
        self, rows: Sequence[Row | BrokenRow], tokens: Sequence[int | ConversationProblem] | None = None
    ) -> Measured:
        """Return what the checks need to know of these rows; ``tokens``: of them, where they are known already."""
        measured = Measured(numpy.zeros(len(rows), COLUMNS), common=self.questions.counter(), records=len(rows))
        sound = 0
        for broken in rows:
            if isinstance(broken, BrokenRow):
                measured.hits["BrokenRows", broken.problem].append(broken.number)
        good = [row for row in rows if isinstance(row, Row)]
        said = [[words(turn_text(turn)) for turn in row.messages] for row in good]
        compared = Comparison.of(self.questions, self.checks, good, said)
        counts = self.tokenizer.count(good) if tokens is None else tokens
        for at, (row, found, count) in enumerate(zip(good, said, counts, strict=True)):
            self._look(row, measured)
            if isinstance(count, ConversationProblem):
                measured.hits[count.check, str(count)].append(row.number)
                continue
            compared.look(at, measured.hits, measured.common)
            measured.rows[sound] = self._entry(row, count, found)
            sound += 1
        measured.rows = measured.rows[:sound]
        return measured

    def _look(self, row: Row, measured: Measured) -> None:
        simple = (
            ("InvisibleCharacters", text.has_invisible), ("CopiedInput", text.copies_input), ("Refusals", text.refuses)
        )  # fmt: skip
        hits: list[tuple[Any, str]] = [(name, "") for name, holds in simple if name in self.checks and holds(row)]
        if self.checks & {"PersonalData", "HealthData", "Secrets"}:
            whole = "\n".join(row.texts)
            hits += privacy.find(whole)
            if not whole.isascii() and (seen := legible(whole)) != whole:
                # What people read is looked through too: nothing hides behind signs that are not seen, or of another width.
                hits += [hit for hit in privacy.find(seen) if hit not in hits]
        for check, kind in hits:
            if check in self.checks:
                measured.hits[check, kind].append(row.number)

    def _entry(self, row: Row, tokens: int, found: Sequence[Sequence[str]]) -> tuple[Any, ...]:
        tools = json.dumps(row.tools, sort_keys=True) if row.tools else ""
        turns = [("tools", tools), *((turn["role"], normal(turn_text(turn))) for turn in row.messages)]
        # Without the system turn, which many rows share.
        said = [
            word for turn, each in zip(row.messages, found, strict=True) if turn["role"] != "system" for word in each
        ]
        return (
            row.number,
            tokens,
            text_hash(_joined(turns)),
            text_hash(_joined(turns[:-1])),
            text_hash(turns[-1][1]),
            text_hash(normalize_label(row.answer)),
            group_key(row.group(self.group_field), self.seed),
            self.group_field is None or row.fields.get(self.group_field) is not None,
            row.content,
            signature(said) if "NearDuplicates" in self.checks else 0,
        )


def _joined(turns: Sequence[tuple[str, str]]) -> str:
    return "\0".join(f"{role} {said}" for role, said in turns)
