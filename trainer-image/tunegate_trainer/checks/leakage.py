"""Training rows that give questions of suites away: of the job's own suite, and of the further ones in its namespace.

Overlap: the row asks the question, or holds it: in any turn or tool, in parts, with more around it, however it is written
(``checks.letters``, ``checks.containment``). Shared: 13 words in a row with a question, in any turn, unless they are
boilerplate: in many training rows and in many different questions; or nearly a question, or nearly all its words in another
order (``checks.vocabulary``). A passage that only training rows repeat is no boilerplate, however often they do. Questions
that are paraphrased or translated are not seen.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from tunegate_trainer.checks.containment import LEAST_OWN, Contents, Letters
from tunegate_trainer.checks.letters import letters, readings, stream, texts_in, visible
from tunegate_trainer.checks.vocabulary import Vocabularies, WordHashes
from tunegate_trainer.checks.words import Hashes, gram_hashes, normal, text_hash, word_hashes, words
from tunegate_trainer.data.rows import Row
from tunegate_trainer.data.turns import turn_text

GRAM = 13
"""Words. Source: the contamination check of GPT-3 (arXiv 2005.14165, appendix C)."""
BOILERPLATE_SHARE = 0.02
BOILERPLATE_LEAST = 3
"""A 13-gram is common in rows or questions when more than this many have it, and more than this share."""
SAMPLE = 32
"""Grams that are common in the job's own suite, and as many that are in further ones, that are kept of a row. Where a quarter
of them are rare in training, a sample of 32 has none of these with a probability of 1e-4."""
LONGEST_SHORT = 500
"""Characters of a turn that may ask a question of fewer than ``LEAST_OWN`` letters, with whatever lies between them."""
OWN = 1
"""The set of the job's own suite."""


def asked(row: Row) -> str:
    """Return what is asked, without the system turn that all rows share."""
    return normal("\n".join(_user_turns(row)))


def ways_to_ask(row: Row) -> set[int]:
    """Return hashes of what is asked and of each user turn by itself: a question may come in the middle of a conversation."""
    turns = _user_turns(row)
    texts = {"\n".join(turns), *turns}
    return {
        *(text_hash(normal(text)) for text in texts),
        *(text_hash(_short(text)) for text in texts if len(text) <= LONGEST_SHORT),
    }


def _short(text: str) -> str:
    """Return a text without what lies between its letters and changes nothing: for questions that are too short to be looked
    for within a row."""
    return f"{stream(text).decode('utf-8', 'replace')} {''.join(_MEANING.findall(visible(text)))}"


_MEANING = re.compile(r"[^\w\s.,;:!?'\"()\[\]{}*_~`|>\-\u0300-\u036f\u2010-\u206f\u3000-\u303f\uff01-\uff0f]")
"""Signs that make another question: C++ is not C#."""


def _user_turns(row: Row) -> list[str]:
    return [turn["content"] for turn in row.messages[:-1] if turn["role"] == "user"]


def letters_of(turns: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> Letters:
    """Return the letters of turns and tools, and of what is written in them in a code."""
    texts: list[str] = []
    for turn in turns:
        texts.append(turn["content"])
        texts += texts_in([inner for name, inner in turn.items() if name not in ("role", "content")])
    texts += texts_in(list(tools))
    return letters(*texts, *(other for text in texts for other in readings(text)))


def grams_of(turns: Iterable[WordHashes]) -> Hashes:
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
    contents: Contents
    vocabularies: Vocabularies

    @staticmethod
    def of(rows: Iterable[Row], name: str = "") -> Questions:
        """Return what is to be looked for of one suite. Of the rows nothing else is kept."""
        exact: dict[int, int] = {}
        grams = [numpy.empty(0, numpy.uint64)]
        streams: list[Letters] = []
        vocabularies: list[WordHashes] = []
        for row in rows:
            question = asked(row)
            key = text_hash(question)
            if key in exact:
                continue
            exact[key] = OWN
            turns = [word_hashes(words(turn_text(turn))) for turn in row.messages[:-1]]
            grams.append(grams_of(turns))
            # Without the system turn, which all rows share.
            kept = [turn["role"] != "system" for turn in row.messages[:-1]]
            streams.append(letters_of(turn for turn, one in zip(row.messages, kept, strict=False) if one))
            vocabularies.append(numpy.concatenate([turn for turn, one in zip(turns, kept, strict=True) if one]))
            # Of longer ones the letters are looked for; without any, the signs are all there is.
            if 0 < len(streams[-1]) < LEAST_OWN:
                exact[text_hash(_short("\n".join(_user_turns(row))))] = OWN
        many_from = common_from(len(streams))
        union, counts = numpy.unique(numpy.concatenate(grams), return_counts=True)
        many = counts >= many_from
        suites = numpy.full(len(union), OWN, numpy.uint64)
        return Questions(
            (name,), exact, union[~many], suites[~many], union[many], suites[many],
            Contents.of(streams, OWN, many_from), Vocabularies.of(vocabularies, OWN),
        )  # fmt: skip

    @staticmethod
    def together(parts: Sequence[Questions]) -> Questions:
        """Return what is to be looked for of all suites of the parts, in their order."""
        names: tuple[str, ...] = ()
        exact: dict[int, int] = {}
        telling, common, shifts = [], [], []
        for part in parts:
            shifts.append(len(names))
            shift = numpy.uint64(len(names))
            for key, suites in part.exact.items():
                exact[key] = exact.get(key, 0) | suites << len(names)
            telling.append((part.telling, part.telling_in << shift))
            common.append((part.common, part.common_in << shift))
            names += part.names
        return Questions(
            names, exact, *_merged(telling), *_merged(common),
            Contents.together([part.contents for part in parts], shifts),
            Vocabularies.together([part.vocabularies for part in parts], shifts),
        )  # fmt: skip

    def found_in(self, row: Row, letters: Letters | None) -> tuple[int, int]:
        """Return the suites that ask what the row asks or holds, and those of which it nearly holds a question.

        ``letters``: of the row, None where it is known to hold none.
        """
        fully, nearly = 0, 0
        for key in ways_to_ask(row):
            fully |= self.exact.get(key, 0)
        for held in self.contents.within(letters) if letters is not None else ():
            if held.fully:
                fully |= held.suites
            nearly |= held.suites
        return fully, nearly & ~fully

    def questions_in(self, text: str) -> list[str]:
        """Return the names of the suites of each question that a text holds."""
        said = letters_of([{"role": "user", "content": text}])
        return [name for held in self.contents.within(said) if held.fully for name in self.named(held.suites)]

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
    # Not numpy.isin, which sorts the suite's grams again for every row.
    nearest = numpy.minimum(numpy.searchsorted(known, grams), len(known) - 1)
    return nearest[known[nearest] == grams]
