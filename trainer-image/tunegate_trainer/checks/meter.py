"""One pass over the rows: what every check needs to know of each, as columns of numbers.

Rows are measured apart from each other, so that processes can share the work; what needs all rows at once (repetitions,
contradictions) is reckoned from the columns afterwards. About 350 bytes a row are kept, whatever its length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from tunegate.api.datachecks import DataCheck
from tunegate_trainer.checks import privacy, text
from tunegate_trainer.checks.leakage import Questions, asked
from tunegate_trainer.checks.near_duplicates import PERMUTATIONS, signature
from tunegate_trainer.checks.words import normal, text_hash
from tunegate_trainer.data.conversations import ChatTokenizer, ConversationProblem
from tunegate_trainer.data.rows import BrokenRow, Row, turn_text
from tunegate_trainer.data.splitting import group_key

COLUMNS = numpy.dtype(
    [
        ("number", "u4"),
        ("tokens", "u4"),
        ("whole", "u8"),
        ("question", "u8"),
        ("answer", "u8"),
        ("label", "u8"),
        ("group", "u8"),
        ("signature", "u2", (PERMUTATIONS,)),
    ]
)
"""`whole`, `question`, `answer`: hashes of normalized words; `label`: of the answer as it is; `group`: for the split."""


@dataclass
class Measured:
    """What is known of the rows so far."""

    rows: Any = field(default_factory=lambda: numpy.empty(0, COLUMNS))
    """One entry of ``COLUMNS`` for every row that can be trained on."""
    hits: dict[tuple[DataCheck, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    """Check and kind of problem to row numbers."""
    grams: list[tuple[int, int]] = field(default_factory=list)
    """Row number and telling gram of the suite that it shares."""
    records: int = 0
    """All rows, broken ones included."""


def joined(parts: Iterable[Measured]) -> Measured:
    """Return the parts as one, in their order."""
    whole = Measured()
    arrays = [whole.rows]
    for part in parts:
        arrays.append(part.rows)
        for key, numbers in part.hits.items():
            whole.hits[key] += numbers
        whole.grams += part.grams
        whole.records += part.records
    whole.rows = numpy.concatenate(arrays)
    return whole


@dataclass(frozen=True)
class Meter:
    """Measures rows for the checks that are on."""

    tokenizer: ChatTokenizer
    checks: frozenset[DataCheck]
    questions: Questions
    group_field: str | None
    seed: int

    def measure(self, rows: Sequence[Row | BrokenRow]) -> Measured:
        """Return what the checks need to know of these rows."""
        measured = Measured(rows=numpy.zeros(len(rows), COLUMNS), records=len(rows))
        sound = 0
        for row in rows:
            if isinstance(row, BrokenRow):
                measured.hits["BrokenRows", row.problem].append(row.number)
                continue
            self._look(row, measured)
            try:
                tokens = len(self.tokenizer.encode(row).input_ids)
            except ConversationProblem as problem:
                measured.hits[problem.check, str(problem)].append(row.number)
                continue
            measured.rows[sound] = self._entry(row, tokens, measured)
            sound += 1
        measured.rows = measured.rows[:sound]
        return measured

    def _look(self, row: Row, measured: Measured) -> None:
        simple = (
            ("InvisibleCharacters", text.has_invisible), ("CopiedInput", text.copies_input), ("Refusals", text.refuses)
        )  # fmt: skip
        hits: list[tuple[Any, str]] = [(name, "") for name, holds in simple if name in self.checks and holds(row)]
        if self.checks & {"PersonalData", "HealthData", "Secrets"}:
            hits += privacy.find("\n".join(row.texts))
        for check, kind in hits:
            if check in self.checks:
                measured.hits[check, kind].append(row.number)

    def _entry(self, row: Row, tokens: int, measured: Measured) -> tuple[Any, ...]:
        question = asked(row)
        if "Overlap" in self.checks and text_hash(question) in self.questions.exact:
            measured.hits["Overlap", ""].append(row.number)
        elif "SharedText" in self.checks:
            measured.grams += [(row.number, gram) for gram in self.questions.shared(question)]
        turns = [(turn["role"], normal(turn_text(turn))) for turn in row.messages]
        # Without the system turn, which many rows share.
        said = " ".join(said for role, said in turns if role != "system")
        return (
            row.number,
            tokens,
            text_hash(_joined(turns)),
            text_hash(_joined(turns[:-1])),
            text_hash(turns[-1][1]),
            text_hash(row.answer.strip()),
            group_key(row.group(self.group_field), self.seed),
            signature(said.split()) if "NearDuplicates" in self.checks else 0,
        )


def _joined(turns: Sequence[tuple[str, str]]) -> str:
    return "\0".join(f"{role} {said}" for role, said in turns)
