"""Questions that stand within a row: in any turn, in parts, with more around them, however they are written.

Rows and questions are compared by all runs of ``RUN`` letters (``checks.letters``), as the bytes of a question that runs of
the row cover. What many questions of a suite have in common is left out: a row is not asked what the others say too. Which
questions a row may hold is looked up by every fourth run, chosen by its hash (as in winnowing: Schleimer, Wilkerson and
Aiken, Local algorithms for document fingerprinting, 2003); these questions alone are then compared in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy

RUN = 16
"""Bytes of letters: three words of English, five characters of Chinese."""
LEAST_OWN = 24
"""Bytes that a question has for itself, from which it can be looked for within a row: shorter ones are in others by chance."""
LEAST_ALONE = 64
"""The same, from which a row is one that holds the question even without what the suite's other questions say too."""
HOLDS, NEARLY_HOLDS = 0.9, 0.8
"""Share of a question from which a row holds it, and from which it holds it nearly. Measured: benchmarks/data/README.md."""
FULLY_LOOKED_UP = 48
"""Different runs of a question up to which all of them are looked up."""
LOOKED_UP = numpy.uint64(3)
"""Runs are looked up when these bits of their hash are 0."""
WORTH_COMPARING = 0.15
"""Share of the looked-up runs of a question that a row has, from which both are compared in full."""
PIECE = 1 << 16
"""Letters that are hashed at a time: memory does not grow with the length of a row."""
_BASE = numpy.uint64(0x9E3779B97F4A7C15)
_CODES = numpy.random.Generator(numpy.random.PCG64(14)).integers(1, 1 << 63, 256, numpy.uint64) | numpy.uint64(1)
"""A number for each byte, the same in every process."""

Letters = Any
"""Array of uint8, from ``letters.letters``."""


@cache
def _powers() -> tuple[Any, Any]:
    """Return the base's powers and their inverses, modulo 2^64."""
    powers = numpy.full(PIECE, _BASE)
    inverses = numpy.full(PIECE, pow(int(_BASE), -1, 1 << 64), numpy.uint64)
    powers[0] = inverses[0] = 1
    return numpy.cumprod(powers, dtype=numpy.uint64), numpy.cumprod(inverses, dtype=numpy.uint64)


def runs(said: Letters, length: int = RUN) -> Any:
    """Return the hashes of all runs of that many letters, in their order, as an array of uint64."""
    if len(said) < length:
        return numpy.empty(0, numpy.uint64)
    if len(said) <= PIECE:
        return _runs(said, length)
    step = PIECE - length + 1
    return numpy.concatenate([runs(said[start : start + PIECE], length) for start in range(0, len(said), step)])


def _runs(said: Letters, length: int) -> Any:
    """A run is a number whose digits are its letters' codes: what is summed up to its end, without what comes before."""
    powers, inverses = _powers()
    count = len(said) - length + 1
    sums = numpy.zeros(len(said) + 1, numpy.uint64)
    numpy.cumsum(_CODES[said] * powers[: len(said)], dtype=numpy.uint64, out=sums[1:])
    hashes = (sums[length:] - sums[:count]) * inverses[:count]
    # The low bits of a product depend on low bits only: mix the high ones in.
    return hashes ^ (hashes >> numpy.uint64(29))


@dataclass(frozen=True)
class Held:
    """A question, most of which stands in a row."""

    suites: int
    """The suites that ask it, as in ``leakage.Questions``."""
    fully: bool
    """Or nearly."""


@dataclass(frozen=True)
class Contents:
    """The questions of suites, as they are looked for within rows. 3 bytes a letter, and 12 for each run that is looked up."""

    letters: Letters
    """Of all questions, one after the other."""
    own: Any
    """Boolean, for each letter: it is in a run that few questions of its suite have."""
    starts: Any
    """Where each question's letters begin, and where the last one's end."""
    suites: Any
    """Of each question."""
    looked_up: Any
    """Sorted hashes of runs."""
    questions: Any
    """The question of each."""

    @staticmethod
    def of(streams: Sequence[Letters], suites: int, common_from: int) -> Contents:
        """Return the questions of one suite; runs that ``common_from`` of them or more have are not their own."""
        known = [runs(said) for said in streams]
        distinct = [numpy.unique(each) for each in known]
        union, counts = numpy.unique(_joined(distinct, numpy.uint64), return_counts=True)
        common = union[counts >= common_from]
        own: list[Any] = []
        looked_up: list[Any] = []
        questions: list[Any] = []
        for at, (said, hashes) in enumerate(zip(streams, known, strict=True)):
            telling = ~_among(hashes, common)
            own.append(_covered(telling, len(said)))
            chosen = numpy.unique(hashes[telling])
            if len(chosen) > FULLY_LOOKED_UP:
                chosen = chosen[chosen & LOOKED_UP == 0]
            looked_up.append(chosen)
            questions.append(numpy.full(len(chosen), at, numpy.uint32))
        starts = numpy.cumsum([0, *map(len, streams)], dtype=numpy.int64)
        return Contents(
            _joined(streams, numpy.uint8), _joined(own, bool), starts, numpy.full(len(streams), suites, numpy.uint64),
            *_sorted(_joined(looked_up, numpy.uint64), _joined(questions, numpy.uint32)),
        )  # fmt: skip

    @staticmethod
    def together(parts: Sequence[Contents], shifts: Sequence[int]) -> Contents:
        """Return the questions of all parts; the suites of each move up by so many bits."""
        letters = numpy.cumsum([0, *(len(part.letters) for part in parts)])
        numbers = numpy.cumsum([0, *(len(part.suites) for part in parts)])
        return Contents(
            _joined([part.letters for part in parts], numpy.uint8), _joined([part.own for part in parts], bool),
            numpy.concatenate([[0], *(part.starts[1:] + start for part, start in zip(parts, letters, strict=False))]),
            _joined([part.suites << numpy.uint64(by) for part, by in zip(parts, shifts, strict=True)], numpy.uint64),
            *_sorted(
                _joined([part.looked_up for part in parts], numpy.uint64),
                _joined(
                    [part.questions + numpy.uint32(first) for part, first in zip(parts, numbers, strict=False)], numpy.uint32
                ),
            ),
        )  # fmt: skip

    @cached_property
    def _bloom(self) -> tuple[Any, Any]:
        """A table of marks by a hash's highest bits: of most rows no run is marked, and nothing has to be looked up."""
        bits = min(max(16, (16 * len(self.looked_up)).bit_length()), 24)
        marks = numpy.zeros(1 << bits, bool)
        shift = numpy.uint64(64 - bits)
        marks[self.looked_up >> shift] = True
        return marks, shift

    @cached_property
    def _sizes(self) -> Any:
        """How many runs of each question are looked up."""
        return numpy.bincount(self.questions, minlength=len(self.suites))

    @cached_property
    def _least(self) -> float:
        """Runs that a row must have to hold any question."""
        sizes = self._sizes[self._sizes > 0]
        return max(1.0, WORTH_COMPARING * float(sizes.min())) if len(sizes) else numpy.inf

    def worth_a_look(self, said: Sequence[Letters]) -> Any:
        """Return which rows, of which these are the letters, may hold a question: all at once, and of most rows no."""
        if not said:
            return numpy.empty(0, bool)
        marks, shift = self._bloom
        hashes = runs(numpy.concatenate(said))
        ends = numpy.cumsum([len(each) for each in said])
        # A run that begins in one row and ends in the next is in neither: it only adds a row to look at.
        marked = numpy.concatenate([[0], numpy.cumsum(marks[hashes >> shift])])
        starts = numpy.minimum(ends - [len(each) for each in said], len(hashes))
        return marked[numpy.minimum(ends, len(hashes))] - marked[starts] >= self._least

    def within(self, said: Letters) -> Iterator[Held]:
        """Yield the questions that a row's letters hold, fully or nearly."""
        marks, shift = self._bloom
        hashes = runs(said)
        marked = hashes[marks[hashes >> shift]]
        if len(marked) < self._least:
            return
        marked = marked[_among(marked, self.looked_up)]
        if len(marked) < self._least:
            return
        marked = numpy.unique(marked)
        first = numpy.searchsorted(self.looked_up, marked, "left")
        counts = numpy.searchsorted(self.looked_up, marked, "right") - first
        places = numpy.repeat(first - (numpy.cumsum(counts) - counts), counts) + numpy.arange(int(counts.sum()))
        questions, having = numpy.unique(self.questions[places], return_counts=True)
        questions = questions[having >= WORTH_COMPARING * self._sizes[questions]]
        if len(questions):
            hashes = numpy.sort(hashes)
            for question in questions:
                share = self._share(int(question), hashes)
                if share >= NEARLY_HOLDS:
                    yield Held(int(self.suites[question]), share >= HOLDS)

    def _share(self, question: int, hashes: Any) -> float:
        """Return the share of a question that sorted hashes of a row's runs cover."""
        begin, end = self.starts[question : question + 2]
        own = self.own[begin:end]
        covered = _covered(_among(runs(self.letters[begin:end]), hashes), len(own))
        size = int(own.sum())
        if size < LEAST_OWN:
            return 0.0
        share = float((covered & own).sum()) / size
        return share if size >= LEAST_ALONE else min(share, float(covered.mean()))


def _covered(found: Any, length: int) -> Any:
    """Return which bytes are in one of the runs that were found, of the runs of a text of that length."""
    steps = numpy.zeros(length + 1, numpy.int32)
    steps[: len(found)] += found
    steps[RUN : RUN + len(found)] -= found
    return numpy.cumsum(steps[:length]) > 0


def _among(hashes: Any, known: Any) -> Any:
    """Return which of the hashes are among known ones, which are sorted."""
    if not len(known):
        return numpy.zeros(len(hashes), bool)
    return known[numpy.minimum(numpy.searchsorted(known, hashes), len(known) - 1)] == hashes


def _joined(parts: Sequence[Any], kind: Any) -> Any:
    return numpy.concatenate([numpy.empty(0, kind), *parts])


def _sorted(hashes: Any, questions: Any) -> tuple[Any, Any]:
    order = numpy.argsort(hashes, kind="stable")
    return hashes[order], questions[order]
