"""Rows that have nearly all words of a question, in whatever order and with whatever between them.

A word counts by how few questions of the suite have it (inverse document frequency: Spärck Jones 1972), so that what all of
them say decides nothing. Rows that are much longer than the question are left alone: a long text has most words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any

import numpy

NEARLY_ALL = 0.9
"""Share of the weight of a question's words."""
LEAST_WORDS = 8
"""Distinct words of a question: fewer are in a row by chance."""
LONGER = 8
"""Times as many distinct words as a question has that a row may have."""
RAREST = 6
"""Words by which questions are looked up; of these a row may lack one."""

WordHashes = Any
"""Array of uint32."""


@dataclass(frozen=True)
class Vocabularies:
    """The words of the questions of suites. 8 bytes for each word of a question."""

    words: WordHashes
    """Distinct ones of each question, one question after the other, each sorted."""
    weights: Any
    """float32."""
    starts: Any
    suites: Any
    """Of each question."""
    rarest: WordHashes
    """Sorted: what questions are looked up by."""
    questions: Any
    """The question of each."""

    @staticmethod
    def of(questions: Sequence[WordHashes], suites: int) -> Vocabularies:
        """Return the vocabularies of one suite's questions; those of fewer than ``LEAST_WORDS`` words are left out."""
        known = [numpy.unique(words) for words in questions]
        having = Counter(int(word) for words in known for word in words)
        known = [words for words in known if len(words) >= LEAST_WORDS]
        weights = [
            numpy.array([log((len(questions) + 1) / having[int(word)]) for word in words], numpy.float32)
            for words in known
        ]
        chosen = [
            words[numpy.argsort(-weight, kind="stable")[:RAREST]] for words, weight in zip(known, weights, strict=True)
        ]
        numbers = numpy.repeat(numpy.arange(len(known), dtype=numpy.uint32), RAREST)
        return Vocabularies(
            _joined(known, numpy.uint32), _joined(weights, numpy.float32),
            numpy.cumsum([0, *map(len, known)], dtype=numpy.int64), numpy.full(len(known), suites, numpy.uint64),
            *_sorted(_joined(chosen, numpy.uint32), numbers),
        )  # fmt: skip

    @staticmethod
    def together(parts: Sequence[Vocabularies], shifts: Sequence[int]) -> Vocabularies:
        """Return the vocabularies of all parts; the suites of each move up by so many bits."""
        words = numpy.cumsum([0, *(len(part.words) for part in parts)])
        numbers = numpy.cumsum([0, *(len(part.suites) for part in parts)])
        moved = [part.questions + numpy.uint32(first) for part, first in zip(parts, numbers, strict=False)]
        return Vocabularies(
            _joined([part.words for part in parts], numpy.uint32), _joined([part.weights for part in parts], numpy.float32),
            numpy.concatenate([[0], *(part.starts[1:] + start for part, start in zip(parts, words, strict=False))]),
            _joined([part.suites << numpy.uint64(by) for part, by in zip(parts, shifts, strict=True)], numpy.uint64),
            *_sorted(_joined([part.rarest for part in parts], numpy.uint32), _joined(moved, numpy.uint32)),
        )  # fmt: skip

    @cached_property
    def _looked_up(self) -> dict[int, list[int]]:
        """The questions by each of the words that they are looked up by."""
        found: dict[int, list[int]] = {}
        for word, question in zip(self.rarest.tolist(), self.questions.tolist(), strict=True):
            found.setdefault(word, []).append(question)
        return found

    @cached_property
    def _marks(self) -> Any:
        """Which lowest 16 bits a word has by which questions are looked up: most words of a row have others."""
        marks = numpy.zeros(1 << 16, bool)
        marks[self.rarest & 0xFFFF] = True
        return marks

    def worth_a_look(self, words: WordHashes, ends: Any) -> Any:
        """Return which rows may have nearly all words of a question: the words of all rows, and where those of each end."""
        marked = numpy.concatenate([[0], numpy.cumsum(self._marks[words & 0xFFFF])])
        return numpy.diff(marked[ends], prepend=0) >= RAREST - 1

    def nearly_all_in(self, words: WordHashes) -> Iterator[int]:
        """Yield the suites of each question of which a row has nearly all words."""
        marked = set(words[self._marks[words & 0xFFFF]].tolist())
        having: Counter[int] = Counter()
        for word in marked:
            having.update(self._looked_up.get(word, ()))
        if sum(having.values()) < RAREST - 1:
            return
        looked_up = [question for question, count in having.items() if count >= RAREST - 1]
        row = numpy.unique(words) if looked_up else words
        for question in looked_up:
            begin, end = self.starts[question : question + 2]
            own, weights = self.words[begin:end], self.weights[begin:end]
            if len(row) <= LONGER * len(own):
                there = row[numpy.minimum(numpy.searchsorted(row, own), len(row) - 1)] == own
                if weights[there].sum() >= NEARLY_ALL * weights.sum():
                    yield int(self.suites[question])


def _joined(parts: Sequence[Any], kind: Any) -> Any:
    return numpy.concatenate([numpy.empty(0, kind), *parts])


def _sorted(hashes: Any, questions: Any) -> tuple[Any, Any]:
    order = numpy.argsort(hashes, kind="stable")
    return hashes[order], questions[order]
