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

from tunegate.api.datachecks import COMPARING, DataCheck
from tunegate.api.normalization import normalize_label
from tunegate_trainer.checks import privacy, text
from tunegate_trainer.checks.leakage import OWN, CommonGrams, Questions, grams_of, positions
from tunegate_trainer.checks.letters import legible
from tunegate_trainer.checks.near_duplicates import PERMUTATIONS, signature
from tunegate_trainer.checks.vocabulary import WordHashes
from tunegate_trainer.checks.words import normal, text_hash, word_hashes, words
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

    def measure(self, rows: Sequence[Row | BrokenRow]) -> Measured:
        """Return what the checks need to know of these rows."""
        measured = Measured(numpy.zeros(len(rows), COLUMNS), common=self.questions.counter(), records=len(rows))
        sound = 0
        for broken in rows:
            if isinstance(broken, BrokenRow):
                measured.hits["BrokenRows", broken.problem].append(broken.number)
        good = [row for row in rows if isinstance(row, Row)]
        for row, tokens in zip(good, self.tokenizer.count(good), strict=True):
            self._look(row, measured)
            if isinstance(tokens, ConversationProblem):
                measured.hits[tokens.check, str(tokens)].append(row.number)
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
            whole = "\n".join(row.texts)
            hits += privacy.find(whole)
            if not whole.isascii() and (seen := legible(whole)) != whole:
                # What people read is looked through too: nothing hides behind signs that are not seen, or of another width.
                hits += [hit for hit in privacy.find(seen) if hit not in hits]
        for check, kind in hits:
            if check in self.checks:
                measured.hits[check, kind].append(row.number)

    def _entry(self, row: Row, tokens: int, measured: Measured) -> tuple[Any, ...]:
        found = [words(turn_text(turn)) for turn in row.messages]
        if self.checks & set(COMPARING):
            self._compare(row, found, measured)
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

    def _compare(self, row: Row, found: Sequence[Sequence[str]], measured: Measured) -> None:
        """Look for the suites' questions in a row, of which ``found`` are the words of its turns."""
        fully, nearly = self.questions.found_in(row)
        if "Overlap" in self.checks:
            for name in self.questions.named(fully):
                measured.hits["Overlap", name].append(row.number)
        else:
            fully, nearly = 0, nearly | fully
        if "SharedText" in self.checks and fully.bit_count() < len(self.questions.names):
            self._share(row, [word_hashes(each) for each in found], nearly, fully, measured)

    def _share(self, row: Row, found: Sequence[WordHashes], nearly: int, fully: int, measured: Measured) -> None:
        """Look for the suites' grams and words in the turns of a row, the answer's too: an answer may quote a question.

        Suites in ``fully`` have their finding already; ``nearly``: suites of which the row nearly holds a question."""
        questions, grams = self.questions, grams_of(found)
        told = int(numpy.bitwise_or.reduce(questions.telling_in[positions(questions.telling, grams)])) | nearly
        said = [each for turn, each in zip(row.messages, found, strict=True) if turn["role"] != "system"]
        for suites in questions.vocabularies.nearly_all_in(numpy.concatenate(said)):
            told |= suites
        told &= ~fully
        for name in questions.named(told):
            measured.hits["SharedText", name].append(row.number)
        common = positions(questions.common, grams)
        left = questions.common_in[common] & ~numpy.uint64(told | fully)
        # Apart, so that what further suites share with the row does not push the own suite's grams out of the sample.
        own = left & numpy.uint64(OWN) != 0
        measured.common.add(row.number, common, (common[own], common[~own & (left != 0)]))


def _joined(turns: Sequence[tuple[str, str]]) -> str:
    return "\0".join(f"{role} {said}" for role, said in turns)
