"""Training rows that give questions of suites away: of the job's own suite and of the further ones in its namespace.

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
"""Grams that are common in the job's own suite, and as many that are in further ones, that are kept of a row. Where a quarter
of them are rare in training, a sample of 32 has none of these with a probability of 1e-4."""
OWN = 1
"""The set of the job's own suite."""


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
    found = numpy.sort(numpy.concatenate([numpy.empty(0, numpy.uint64), *(gram_hashes(each, GRAM) for each in turns)]))
    # Not numpy.unique, whose table takes ten times as long for the few hundred of a row.
    return found[numpy.concatenate([[True], found[1:] != found[:-1]])] if len(found) else found


def common_from(count: int) -> int:
    """Return how many of ``count`` rows must have a gram for it to be common."""
    return max(BOILERPLATE_LEAST, int(BOILERPLATE_SHARE * count)) + 1


@dataclass
class CommonGrams:
    """How often training rows have the grams that are common in a suite. At most 2 * 8 bytes * ``SAMPLE`` a row."""

    rows: Any
    """Training rows by position of the gram in ``Questions.common``."""
    names: tuple[str, ...] = ()
    common_in: Any = None
    """Both as in ``Questions``."""
    samples: array[int] = field(default_factory=lambda: array("I"))
    """Row number and gram's position, one after the other."""

    def add(self, number: int, positions: Any, undecided: Iterable[Any]) -> None:
        """Count the grams of a row; ``undecided``: positions of which it depends on all rows whether they are telling, in
        parts that are sampled apart."""
        self.rows[positions] += 1
        for part in undecided:
            for position in part[:: max(1, -(-len(part) // SAMPLE))]:
                self.samples.extend((number, int(position)))

    def extend(self, other: CommonGrams) -> None:
        """Count the rows of another part too."""
        self.rows = self.rows + other.rows if len(self.rows) else other.rows
        self.names, self.common_in = other.names, other.common_in
        self.samples += other.samples

    def telling_rows(self, records: int) -> dict[str, list[int]]:
        """Return by suite the numbers of the rows that have a gram of it which is rare in training."""
        pairs = numpy.frombuffer(self.samples, numpy.uintc).reshape(-1, 2)
        pairs = pairs[self.rows[pairs[:, 1]] < common_from(records)]
        found = {}
        for bit, name in enumerate(self.names):
            in_suite = self.common_in[pairs[:, 1]] & numpy.uint64(1 << bit) != 0
            found[name] = [int(number) for number in numpy.unique(pairs[in_suite, 0])]
        return found


@dataclass(frozen=True)
class Questions:
    """The questions of one suite, or of several together, as far as training rows are compared with them.

    A set of suites is a number in which the bit at a suite's position in ``names`` is 1; the job's own suite is the first.
    """

    names: tuple[str, ...]
    """At most 64."""
    exact: Mapping[int, int]
    """Hash of a question, to the suites that ask it."""
    telling: Hashes
    """Grams of few questions of a suite, sorted: a row that has one gives something away."""
    telling_in: Any
    """The suites of each."""
    common: Hashes
    """Grams of many different questions of a suite, sorted: boilerplate where many rows have them too."""
    common_in: Any
    """The suites of each."""

    @staticmethod
    def of(rows: Iterable[Row], name: str = "") -> Questions:
        """Return what is to be looked for of one suite. Of the rows nothing else is kept."""
        exact: dict[int, int] = {}
        grams = [numpy.empty(0, numpy.uint64)]
        for row in rows:
            key = text_hash(asked(row))
            if key not in exact:
                exact[key] = OWN
                grams.append(grams_of(words(turn_text(turn)) for turn in row.messages[:-1]))
        union, counts = numpy.unique(numpy.concatenate(grams), return_counts=True)
        many = counts >= common_from(len(exact))
        suites = numpy.full(len(union), OWN, numpy.uint64)
        return Questions((name,), exact, union[~many], suites[~many], union[many], suites[many])

    @staticmethod
    def together(parts: Sequence[Questions]) -> Questions:
        """Return what is to be looked for of all suites of the parts, in their order."""
        names: tuple[str, ...] = ()
        exact: dict[int, int] = {}
        telling, common = [], []
        for part in parts:
            shift = numpy.uint64(len(names))
            for key, suites in part.exact.items():
                exact[key] = exact.get(key, 0) | suites << len(names)
            telling.append((part.telling, part.telling_in << shift))
            common.append((part.common, part.common_in << shift))
            names += part.names
        return Questions(names, exact, *_merged(telling), *_merged(common))

    def asked_in(self, row: Row) -> int:
        """Return the suites that ask what the row asks, as a whole or in one user turn."""
        found = 0
        for key in ways_to_ask(row):
            found |= self.exact.get(key, 0)
        return found

    def named(self, suites: int) -> list[str]:
        """Return the names of a set of suites."""
        return [name for bit, name in enumerate(self.names) if suites >> bit & 1]

    def counter(self) -> CommonGrams:
        """Return a count of zero for each common gram."""
        return CommonGrams(numpy.zeros(len(self.common), numpy.uint32), self.names, self.common_in)


def _merged(parts: Sequence[tuple[Hashes, Any]]) -> tuple[Hashes, Any]:
    """Return all hashes, sorted, and for each of them the suites that have it."""
    known, places = numpy.unique(numpy.concatenate([hashes for hashes, _ in parts]), return_inverse=True)
    suites = numpy.zeros(len(known), numpy.uint64)
    numpy.bitwise_or.at(suites, places, numpy.concatenate([each for _, each in parts]))
    return known, suites


def positions(known: Hashes, grams: Hashes) -> Any:
    """Return where those of ``grams`` that are known lie in ``known``, which is sorted."""
    if not len(known):
        return numpy.empty(0, int)
    # Not numpy.isin, which sorts the suite's grams anew for every row.
    nearest = numpy.minimum(numpy.searchsorted(known, grams), len(known) - 1)
    return nearest[known[nearest] == grams]
