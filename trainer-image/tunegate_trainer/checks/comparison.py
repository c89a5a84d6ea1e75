"""Some rows at a time, looked through for the questions of suites.

What rules most rows out is done for all of them together; the few that are left are compared one by one.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from tunegate.api.datachecks import COMPARING, DataCheck
from tunegate_trainer.checks.containment import Letters
from tunegate_trainer.checks.leakage import GRAM, OWN, CommonGrams, Questions, grams_of, letters_of, positions
from tunegate_trainer.checks.vocabulary import WordHashes
from tunegate_trainer.checks.words import gram_hashes, word_hashes
from tunegate_trainer.data.rows import Row

Hits = MutableMapping[tuple[DataCheck, str], list[int]]


@dataclass(frozen=True)
class Comparison:
    """Rows beside the questions of suites; sequences have one entry for each row."""

    questions: Questions
    checks: frozenset[DataCheck]
    rows: Sequence[Row]
    letters: Sequence[Letters]
    words: Sequence[Sequence[WordHashes]]
    """Of each turn."""
    may_hold: Any
    """Boolean: the row may hold a question."""
    may_share: Any
    """Boolean: the row may share words with one."""

    @staticmethod
    def of(
        questions: Questions, checks: frozenset[DataCheck], rows: Sequence[Row], said: Sequence[Sequence[list[str]]]
    ) -> Comparison:
        """Return what rules most rows out; ``said``: the words of each turn of each row."""
        checks = checks & frozenset(COMPARING)
        if not checks:
            rows, said = (), ()
        letters = [letters_of(row.messages, row.tools) for row in rows]
        found = [[word_hashes(turn) for turn in turns] for turns in said] if "SharedText" in checks else []
        may_hold = questions.contents.worth_a_look(letters)
        return Comparison(questions, checks, rows, letters, found, may_hold, _may_share(questions, found))

    def look(self, at: int, hits: Hits, common: CommonGrams) -> None:
        """Add what one of the rows, by its index, shares with suites."""
        if not self.checks:
            return
        row, questions = self.rows[at], self.questions
        fully, nearly = questions.found_in(row, self.letters[at] if self.may_hold[at] else None)
        if "Overlap" in self.checks:
            for name in questions.named(fully):
                hits["Overlap", name].append(row.number)
        else:
            fully, nearly = 0, nearly | fully
        if "SharedText" in self.checks and (nearly or self.may_share[at]) and fully.bit_count() < len(questions.names):
            self._share(at, nearly, fully, hits, common)

    def _share(self, at: int, nearly: int, fully: int, hits: Hits, common: CommonGrams) -> None:
        """Look for the suites' grams and words in the turns of a row, the answer's too: an answer may quote a question.

        Suites in ``fully`` have their finding already; ``nearly``: suites of which the row nearly holds a question."""
        row, found, questions = self.rows[at], self.words[at], self.questions
        grams = grams_of(found)
        told = int(numpy.bitwise_or.reduce(questions.telling_in[positions(questions.telling, grams)])) | nearly
        said = [each for turn, each in zip(row.messages, found, strict=True) if turn["role"] != "system"]
        for suites in questions.vocabularies.nearly_all_in(numpy.concatenate(said)):
            told |= suites
        told &= ~fully
        for name in questions.named(told):
            hits["SharedText", name].append(row.number)
        there = positions(questions.common, grams)
        left = questions.common_in[there] & ~numpy.uint64(told | fully)
        # Apart, so that what further suites share with the row does not push the own suite's grams out of the sample.
        own = left & numpy.uint64(OWN) != 0
        common.add(row.number, there, (there[own], there[~own & (left != 0)]))


def _may_share(questions: Questions, found: Sequence[Sequence[WordHashes]]) -> Any:
    """Return which rows, of the words of whose turns these are the hashes, share a gram or rare words with a question.

    A gram that runs from one turn or row into the next is in neither: it only adds a row to look at.
    """
    if not found:
        return numpy.empty(0, bool)
    words = numpy.concatenate([turn for turns in found for turn in turns])
    ends = numpy.cumsum([sum(map(len, turns)) for turns in found])
    grams = gram_hashes(words, GRAM)
    known = numpy.concatenate([[0], numpy.cumsum(_among(grams, questions.telling) | _among(grams, questions.common))])
    counts = numpy.diff(known[numpy.minimum(ends, len(grams))], prepend=0)
    return (counts > 0) | questions.vocabularies.worth_a_look(words, ends)


def _among(grams: Any, known: Any) -> Any:
    if not len(known):
        return numpy.zeros(len(grams), bool)
    return known[numpy.minimum(numpy.searchsorted(known, grams), len(known) - 1)] == grams
