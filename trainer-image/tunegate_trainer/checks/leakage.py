"""Training rows that give the suite's questions away.

Exact: the same question, in all that a row asks or in one of its turns, apart from case, spaces and what ends the
sentence. Shared: 13 words in a row with a question, in any turn, unless they are boilerplate: in many training rows and in
many different questions. A passage that only training rows repeat is none, however often they do. It does not see questions
that are paraphrased or translated.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from tunegate_trainer.checks.words import Hashes, gram_hashes, normal, text_hash, words
from tunegate_trainer.data.rows import Row, turn_text

GRAM = 13
"""Words. Source: the contamination check of GPT-3 (arXiv 2005.14165, appendix C)."""
BOILERPLATE_SHARE = 0.02
BOILERPLATE_LEAST = 3
"""A 13-gram is common in rows or questions when more than this many have it, and more than this share."""
SAMPLE = 32
"""Grams of the suite's common ones that are kept of a row. Where a quarter of them are rare in training, a sample of 32 has
none of these with a probability of 1e-4."""


def asked(row: Row) -> str:
    """Return what is asked, without the system turn that all rows share."""
    return normal("\n".join(_user_turns(row)))


def ways_to_ask(row: Row) -> set[int]:
    """Return hashes of what is asked and of each user turn by itself: a question may come in the middle of a conversation."""
    return {text_hash(asked(row)), *(text_hash(normal(turn)) for turn in _user_turns(row))}


def _user_turns(row: Row) -> list[str]:
    return [turn["content"] for turn in row.messages[:-1] if turn["role"] == "user"]


def grams_of(turns: Iterable[Sequence[str]]) -> Hashes:
    """Return the distinct hashes of all grams of a row, by the words of its turns; none runs from one turn into the next."""
    return numpy.unique(numpy.concatenate([numpy.empty(0, numpy.uint64), *(gram_hashes(each, GRAM) for each in turns)]))


def common_from(count: int) -> int:
    """Return how many of ``count`` rows must have a gram for it to be common."""
    return max(BOILERPLATE_LEAST, int(BOILERPLATE_SHARE * count)) + 1


@dataclass
class CommonGrams:
    """How often training rows have the grams that are common in the suite. At most 8 bytes * ``SAMPLE`` a row."""

    rows: Any
    """Training rows by position of the gram in ``Questions.common``."""
    samples: array[int] = field(default_factory=lambda: array("I"))
    """Row number and gram's position, one after the other."""

    def add(self, number: int, positions: Any, *, keep: bool) -> None:
        """Count the grams of a row; ``keep``: it depends on all rows whether they are telling."""
        self.rows[positions] += 1
        for position in positions[:: max(1, -(-len(positions) // SAMPLE))] if keep else ():
            self.samples.extend((number, int(position)))

    def extend(self, other: CommonGrams) -> None:
        """Count the rows of another part too."""
        self.rows = self.rows + other.rows if len(self.rows) else other.rows
        self.samples += other.samples

    def telling_rows(self, records: int) -> list[int]:
        """Return the numbers of the rows that have a gram which is rare in training."""
        pairs = numpy.frombuffer(self.samples, numpy.uintc).reshape(-1, 2)
        rare = self.rows[pairs[:, 1]] < common_from(records)
        return [int(number) for number in numpy.unique(pairs[rare, 0])]


@dataclass(frozen=True)
class Questions:
    """A suite's questions, as far as training rows are compared with them."""

    exact: frozenset[int]
    telling: Hashes
    """Grams of few questions, sorted: a row that has one gives something away."""
    common: Hashes
    """Grams of many different questions, sorted: boilerplate where many rows have them too."""

    @staticmethod
    def of(rows: Sequence[Row]) -> Questions:
        """Return what is to be looked for in training rows."""
        distinct: Mapping[int, Row] = {text_hash(asked(row)): row for row in rows}
        grams = [grams_of(words(turn_text(turn)) for turn in row.messages[:-1]) for row in distinct.values()]
        union, counts = numpy.unique(numpy.concatenate([numpy.empty(0, numpy.uint64), *grams]), return_counts=True)
        common = counts >= common_from(len(distinct))
        return Questions(frozenset(distinct), union[~common], union[common])

    def counter(self) -> CommonGrams:
        """Return a count of zero for each common gram."""
        return CommonGrams(numpy.zeros(len(self.common), numpy.uint32))


def positions(known: Hashes, grams: Hashes) -> Any:
    """Return where those of ``grams`` that are known lie in ``known``, which is sorted."""
    if not len(known):
        return numpy.empty(0, int)
    # Not numpy.isin, which sorts the suite's grams anew for every row.
    nearest = numpy.minimum(numpy.searchsorted(known, grams), len(known) - 1)
    return nearest[known[nearest] == grams]
