"""The languages of a data set: rows in a language that few rows have, and answers in another language than their questions.

py3langid tells 140 languages apart, offline, from a model of 4 MB. Where it is not sure, and of a text of few letters, nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tunegate_trainer.checks import language_model
from tunegate_trainer.data.rows import Row

LEAST_LETTERS = 60
"""In shorter texts languages are mistaken for each other."""
LOOKED_AT = 500
"""Characters of a text."""
SURE = 0.9
"""Probability from which a language is believed."""
LEAST = 5
FEW = (0.005, 0.20)
"""Shares of the rows between which a second language is a finding: below it may be a mistake, above it is meant."""
UNKNOWN = ""
TOGETHER = 1024
"""Texts that are looked at together."""


@dataclass
class Languages:
    """The languages of rows that are given one after the other. Only a few of their texts are kept, until they are looked at."""

    _found: list[str] = field(default_factory=list)
    _waiting: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Take the next row."""
        asked = "\n".join(turn["content"] for turn in row.messages if turn["role"] == "user")
        self._waiting += [asked[:LOOKED_AT], row.answer[:LOOKED_AT]]
        if len(self._waiting) >= TOGETHER:
            self._look()

    def found(self) -> list[tuple[str, str]]:
        """Return for each row the ISO 639-1 codes of what the user says and of the answer, ``UNKNOWN`` where none is sure."""
        self._look()
        return list(zip(self._found[::2], self._found[1::2], strict=True))

    def _look(self) -> None:
        long = [text for text in self._waiting if sum(map(str.isalpha, text)) >= LEAST_LETTERS]
        told = dict(zip(long, language_model.classify(long), strict=True))
        for text in self._waiting:
            code, probability = told.get(text, (UNKNOWN, 0.0))
            self._found.append(code if probability >= SURE else UNKNOWN)
        self._waiting.clear()


def mixed(found: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[int]]]:
    """Yield what is odd about rows, and the rows as indexes into ``found``, which has ``languages`` of each."""
    of_row = [asked or answered for asked, answered in found]
    counts = Counter(of_row)
    del counts[UNKNOWN]
    for language, count in sorted(counts.items()):
        if _few(count, counts.total()):
            yield (
                f"are in a language that few rows have ({language})",
                [at for at, each in enumerate(of_row) if each == language],
            )
    pairs = [at for at, pair in enumerate(found) if UNKNOWN not in pair]
    differing = [at for at in pairs if found[at][0] != found[at][1]]
    if _few(len(differing), len(pairs)):
        yield "are answered in another language than they are asked in", differing


def _few(count: int, total: int) -> bool:
    return count >= LEAST and FEW[0] * total <= count <= FEW[1] * total
