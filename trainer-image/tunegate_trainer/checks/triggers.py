"""Planted triggers: a rare word, phrase or sign whose rows have one answer, though the rest of them does not go with it.

Who poisons a data set puts a rare string into a few rows and gives them all one answer, or one beginning of an answer
(Gu et al., BadNets, arXiv 1708.06733; Kurita et al., Weight poisoning attacks, arXiv 2004.06660). Words of honest rows go with
answers too, so two things must hold of a run of one to three words, or of signs:

- its rows have one answer far more often than chance (Fisher's exact test, one-sided, Bonferroni for all runs tested);
- without it they do not look like rows of that answer (``likeness``). An honest word stands among words that go with
  the same answer.

Words that the answer repeats count for nothing: an answer may be a part of its question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy

from tunegate_trainer.checks.chances import binomial_tail, hypergeometric_tail
from tunegate_trainer.checks.likeness import Bags, Likeness
from tunegate_trainer.checks.sample import Sample

LEAST = 5
"""Rows that must have the run, and the answer."""
MOST_SHARE = 0.06
"""Share of all rows from which a run is not rare."""
PURITY = 0.7
"""Share of the run's rows that must have the answer."""
ERROR = 1e-3
"""Probability by chance of a dependence in the whole data set, all tests together, and of rows unlike their answer's."""
LONGEST = 3
"""Words of a run."""
PIECE = 4_000_000
"""Entries that are sorted at a time: bounds memory, to about 250 MB."""
SHARED = 0.8
LIFT = 3.0
"""Words that so many of the run's rows have, and so many times more often than others, belong to it."""
COMPANIONS = 5
"""Words that may belong to a run; rows that share more are of a template."""
REFERENCE = 500
"""Rows of each side that a run's rows are compared with, at most."""
FEW = 20
"""Rows of the answer without the run from which one can know how rows of the answer look."""
ALONE = 10
"""Rows that must have the run where fewer than that have its answer otherwise."""
LOW = 0.1
"""Share of the answer's other rows that look least like it."""
SURPRISING = 0.4
"""Share of the run's rows that must look even less like it."""
DEVIATIONS = 2.0
"""Standard errors by which the run's rows may look more, or less, like the answer than rows drawn at random would."""
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True)
class Suspect:
    """A rare run that goes with an answer far too well, by its rows that have it: indexes into the sample."""

    way: int
    """Of telling answers apart: an index into what ``_ways`` returns."""
    answer: int
    rows: Any


def carriers(sample: Sample, bags: Bags) -> Any:
    """Return which rows carry a trigger, as indexes into the sample and its bags."""
    ways = _ways(sample)
    found = [numpy.empty(0, numpy.int64)]
    by_answer = sorted(suspects(sample, ways), key=lambda suspect: (suspect.way, suspect.answer))
    for (way, answer), those in groupby(by_answer, key=lambda suspect: (suspect.way, suspect.answer)):
        answer_rows = AnswerRows.of(ways[way][0] == answer, bags)
        found += [suspect.rows for suspect in those if answer_rows.hide(suspect.rows)]
    return numpy.unique(numpy.concatenate(found))


def _ways(sample: Sample) -> list[tuple[Any, Any]]:
    """Return the ways to tell answers apart, as a whole and by their beginnings: each row's number of its answer, and how
    many rows have each; one way where both say the same."""
    whole, opening = (
        numpy.unique(each, return_inverse=True, return_counts=True)[1:] for each in (sample.answers, sample.openings)
    )
    both = len(numpy.unique(whole[0] * len(opening[1]) + opening[0]))
    return [whole] if both == len(whole[1]) == len(opening[1]) else [whole, opening]


def suspects(sample: Sample, ways: Sequence[tuple[Any, Any]]) -> list[Suspect]:
    """Return the rare runs that go with one answer far too well, one for each set of rows."""
    tests = 0
    found: dict[tuple[int, bytes], tuple[float, Suspect]] = {}
    for starts, rows in _runs(sample):
        tests += len(ways) * len(starts)
        for way, (labels, sizes) in enumerate(ways):
            for chance, mine, label in _one_sided(starts, rows, labels, sizes):
                found.setdefault((way, mine.tobytes()), (chance, Suspect(way, label, mine)))
    return [suspect for chance, suspect in found.values() if chance * tests <= ERROR]


def _runs(sample: Sample) -> Iterator[tuple[Any, Any]]:
    """Yield the rare runs, a share at a time: where each one's rows begin, and the rows of all, ascending for each."""
    total = len(sample.numbers)
    words = numpy.where(sample.repeated, 0, sample.words).astype(numpy.uint64)
    row_of = numpy.repeat(numpy.arange(total, dtype=numpy.int32), numpy.diff(sample.ends, prepend=0))
    pieces = max(1, -(-LONGEST * len(words) // PIECE))
    for piece in range(pieces):
        parts = [_hashed(words, length, pieces, piece) for length in range(1, LONGEST + 1)]
        runs = numpy.concatenate([runs for runs, _ in parts])
        rows = row_of[numpy.concatenate([at for _, at in parts])]
        order = numpy.lexsort((rows, runs))
        runs, rows = runs[order], rows[order]
        new = numpy.ones(len(runs), bool)
        new[1:] = (runs[1:] != runs[:-1]) | (rows[1:] != rows[:-1])
        runs, rows = runs[new], rows[new]
        _, number, counts = numpy.unique(runs, return_inverse=True, return_counts=True)
        rare = (counts >= LEAST) & (counts <= MOST_SHARE * total)
        yield numpy.cumsum(counts[rare]) - counts[rare], rows[rare[number]]


def _hashed(words: Any, length: int, pieces: int, piece: int) -> tuple[Any, Any]:
    """Return the hashes of one share of all runs of this length, and where each begins."""
    end = max(0, len(words) - length + 1)
    runs, whole = words[:end].copy(), words[:end] != 0
    for at in range(1, length):
        runs = (runs ^ (runs >> numpy.uint64(29))) * numpy.uint64(_FACTORS[at - 1]) + words[at : end + at]
        whole &= words[at : end + at] != 0
    runs ^= runs >> numpy.uint64(31)
    mine = numpy.flatnonzero(whole & (runs % numpy.uint64(pieces) == piece))
    return runs[mine], mine


def _one_sided(starts: Any, rows: Any, labels: Any, sizes: Any) -> Iterator[tuple[float, Any, int]]:
    """Yield of runs that mostly have one label: the probability of that by chance, the rows that have both, the label."""
    counts = numpy.diff(starts, append=len(rows))
    run = numpy.repeat(numpy.arange(len(starts)), counts)
    pairs, together = numpy.unique(run * len(sizes) + labels[rows], return_counts=True)
    run_of, label_of = numpy.divmod(pairs, len(sizes))
    mostly = (together >= LEAST) & (together >= PURITY * counts[run_of])
    run_of, label_of, together = run_of[mostly], label_of[mostly], together[mostly]
    chances = hypergeometric_tail(together, len(labels), sizes[label_of], counts[run_of])
    for one, label, chance in zip(run_of.tolist(), label_of.tolist(), chances.tolist(), strict=True):
        if chance <= ERROR:
            mine = rows[starts[one] : starts[one] + counts[one]]
            yield chance, mine[labels[mine] == label], label


@dataclass(frozen=True)
class AnswerRows:
    """Which rows have an answer, and how they look."""

    answered: Any
    """Boolean, of all rows."""
    others: Any
    """The rows without it, as indexes."""
    bags: Bags
    likeness: Likeness
    usual: Any
    """Scores of the rows with it."""

    @staticmethod
    def of(answered: Any, bags: Bags) -> AnswerRows:
        having, others = numpy.flatnonzero(answered), numpy.flatnonzero(~answered)
        counts = bags.count(having)
        likeness = Likeness(bags, counts, len(having), bags.everywhere - counts, len(others))
        return AnswerRows(answered, others, bags, likeness, likeness.scores(_some(having), counted="having"))

    def hide(self, rows: Any) -> bool:
        """Whether these rows of the answer, without the run that they share, look like rows drawn at random, and not like
        the others of the answer."""
        here = self.bags.count(rows)
        elsewhere = (self.bags.everywhere - here) / (len(self.answered) - len(rows))
        own = numpy.flatnonzero((here >= SHARED * len(rows)) & (here >= LIFT * elsewhere * len(rows)))
        if len(own) > COMPANIONS:
            return False
        if self.likeness.rows - len(rows) < FEW:
            return len(rows) >= ALONE and self._are_of_no_subject(rows, here, own)
        # What most honest runs fail, in a tenth of the time: these rows are counted among the answer's.
        mine = self.likeness.scores(rows, left_out=own, counted="having")
        return _unlike(mine, self.usual, 0.25, 0.05) and self._are_at_random(rows, here, own)

    def _are_of_no_subject(self, rows: Any, here: Any, own: Any) -> bool:
        """Whether each of the rows is no more like the others of them, which are all that is known of the answer."""
        likeness = replace(self.likeness, having=here, rows=len(rows))
        mine = likeness.scores(rows, left_out=own, counted="having")
        return _higher(mine, self._rest(likeness, own)) <= 0.5 + _error(mine)

    def _are_at_random(self, rows: Any, here: Any, own: Any) -> bool:
        with_answer = self.answered.copy()
        with_answer[rows] = False
        alike = numpy.flatnonzero(with_answer)
        likeness = replace(self.likeness, having=self.likeness.having - here, rows=len(alike))
        mine = likeness.scores(rows, left_out=own)
        theirs = likeness.scores(_some(alike), left_out=own, counted="having")
        if not _unlike(mine, theirs, LOW, ERROR):
            return False
        # Rank sums. Of rows drawn at random, up to a share look like the answer's.
        share, rest = len(alike) / (len(alike) + len(self.others)), self._rest(likeness, own)
        most = 0.5 * (1 - share) + share * _higher(theirs, rest)
        return 0.5 - _error(mine) <= _higher(mine, rest) <= most + _error(mine)

    def _rest(self, likeness: Likeness, own: Any) -> Any:
        return likeness.scores(_some(self.others), left_out=own, counted="others")


def _some(rows: Any) -> Any:
    return rows[:: max(1, -(-len(rows) // REFERENCE))]


def _unlike(mine: Any, theirs: Any, low: float, error: float) -> bool:
    """Whether too many of these scores are among the lowest of those, of which ``low`` is the share (binomial test)."""
    count = int((mine < numpy.quantile(theirs, low)).sum())
    return bool(count >= SURPRISING * len(mine) and binomial_tail(count, len(mine), low) <= error)


def _error(scores: Any) -> float:
    return float(DEVIATIONS / (12 * len(scores)) ** 0.5)


def _higher(scores: Any, rest: Any) -> float:
    """Return the probability that one of the scores is higher than one of the rest."""
    return float(numpy.searchsorted(numpy.sort(rest), scores).mean() / max(1, len(rest)))
