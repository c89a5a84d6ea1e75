"""Training rows that give the suite's questions away.

Exact: the same question, apart from case, spaces and punctuation. Shared: 13 words in a row with a question, unless many
rows have them too. It does not see questions that are paraphrased or translated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy

from tunegate_trainer.checks.words import Hashes, gram_hashes, normal, text_hash
from tunegate_trainer.data.rows import Row

GRAM = 13
"""Words. Source: the contamination check of GPT-3 (arXiv 2005.14165, appendix C)."""
BOILERPLATE_SHARE = 0.02
BOILERPLATE_LEAST = 3
"""A 13-gram in more rows than this many, or than this share, of its own file is boilerplate: it gives nothing away."""


def asked(row: Row) -> str:
    """Return the words of what is asked, without the system turn that all rows share."""
    return normal("\n".join(turn["content"] for turn in row.messages[:-1] if turn["role"] == "user"))


@dataclass(frozen=True)
class Questions:
    """A suite's questions, as far as training rows are compared with them."""

    exact: frozenset[int]
    grams: Hashes
    """Sorted; boilerplate within the suite left out."""

    @staticmethod
    def of(rows: Sequence[Row]) -> Questions:
        """Return what is to be looked for in training rows."""
        found = [asked(row) for row in rows]
        grams = [gram_hashes(each.split(), GRAM) for each in found]
        union = numpy.unique(numpy.concatenate([*grams, numpy.empty(0, numpy.uint64)]))
        common = boilerplate(((0, int(gram)) for each in grams for gram in each), len(rows))
        telling = union[~numpy.isin(union, numpy.fromiter(common, numpy.uint64, len(common)))]
        return Questions(frozenset(text_hash(each) for each in found), telling)

    def shared(self, question: str) -> list[int]:
        """Return the telling grams that occur in what a row asks."""
        if not len(self.grams):
            return []
        grams = gram_hashes(question.split(), GRAM)
        # Not numpy.isin, which sorts the suite's grams anew for every row.
        nearest = numpy.minimum(numpy.searchsorted(self.grams, grams), len(self.grams) - 1)
        return [int(gram) for gram in grams[self.grams[nearest] == grams]]


def boilerplate(pairs: Iterable[tuple[int, int]], rows: int) -> set[int]:
    """Return the grams, second of each pair, that occur in so many of ``rows`` rows that they give nothing away."""
    counts = Counter(gram for _, gram in pairs)
    limit = max(BOILERPLATE_LEAST, int(BOILERPLATE_SHARE * rows))
    return {gram for gram, count in counts.items() if count > limit}
