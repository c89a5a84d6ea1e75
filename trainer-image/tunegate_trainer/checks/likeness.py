"""How much rows look like the rows of one answer, by the words that they have: naive Bayes.

Source: Rennie et al., Tackling the poor assumptions of naive Bayes text classifiers (2003), for why lengths are evened out. Only words that
are there count. A word's weight does not depend on the other words, so one that is left out takes nothing of theirs with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy

from tunegate_trainer.checks.sample import Sample

SMOOTHING = 0.5
"""Added to each count."""


@dataclass(frozen=True)
class Bags:
    """The distinct words of each row, as numbers from 0."""

    words: Any
    starts: Any
    """Where each row's words begin, and where the last one's end."""
    everywhere: Any
    """In how many rows each word is."""

    @staticmethod
    def of(sample: Sample) -> Bags:
        """Return the words of the rows; words of one row alone say nothing of others and are left out."""
        rows = numpy.repeat(numpy.arange(len(sample.ends)), numpy.diff(sample.ends, prepend=0))
        there = sample.words != 0
        names, words = numpy.unique(sample.words[there], return_inverse=True)
        pairs = numpy.unique(rows[there] * len(names) + words) if len(names) else numpy.empty(0, numpy.int64)
        rows, words = numpy.divmod(pairs, max(1, len(names)))
        counts = numpy.bincount(words, minlength=len(names))
        shared = counts > 1
        kept = shared[words]
        number = numpy.cumsum(shared) - 1
        starts = numpy.searchsorted(rows[kept], numpy.arange(len(sample.ends) + 1))
        return Bags(number[words[kept]].astype(numpy.int32), starts, counts[shared])

    def take(self, rows: Any) -> tuple[Any, Any]:
        """Return the words of these rows, one row after the other, and how many each has."""
        sizes = self.starts[rows + 1] - self.starts[rows]
        ends = numpy.cumsum(sizes)
        at = numpy.arange(sizes.sum()) + numpy.repeat(self.starts[rows] - (ends - sizes), sizes)
        return self.words[at], sizes

    def count(self, rows: Any) -> Any:
        """Return in how many of these rows each word is."""
        return numpy.bincount(self.take(rows)[0], minlength=len(self.everywhere))


@dataclass(frozen=True)
class Likeness:
    """Counts of words in rows of an answer and in others."""

    bags: Bags
    having: Any
    """In how many rows of the answer each word is."""
    rows: int
    """Rows of the answer."""
    others: Any
    other_rows: int

    @cached_property
    def _weights(self) -> dict[str, Any]:
        """Of each word, by the side that is scored by its other rows."""
        return {
            counted: _logarithm(self.having, self.rows, counted == "having")
            - _logarithm(self.others, self.other_rows, counted == "others")
            for counted in ("", "having", "others")
        }

    def scores(self, rows: Any, *, left_out: Any = None, counted: str = "") -> Any:
        """Return for each row how much more it looks like the answer's rows than like the others.

        ``left_out``: words that don't count; ``counted``: `having` or `others` when the rows were counted there: each is
        then scored by the other rows alone.
        """
        words, sizes = self.bags.take(rows)
        weights = self._weights[counted]
        counting = numpy.ones(len(weights), bool)
        if left_out is not None:
            counting[left_out] = False
        at = numpy.repeat(numpy.arange(len(rows)), sizes)
        sums = numpy.bincount(at, numpy.where(counting, weights, 0)[words], len(rows))
        lengths = numpy.bincount(at, counting[words], len(rows))
        return sums / numpy.sqrt(numpy.maximum(lengths, 1))


def _logarithm(count: Any, rows: int, counted: bool) -> Any:
    return numpy.log((numpy.maximum(count - counted, 0) + SMOOTHING) / (rows - counted + 2 * SMOOTHING))
