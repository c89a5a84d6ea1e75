"""Words of a sample of the rows, for checks that ask how rows differ from the rest of the data.

Up to `ROWS` rows, all of a smaller data set, are read once more. Which ones depends on what is in them, not on their order; copies
are left out. Words are kept as 32-bit hashes, so two of n distinct words share one with a probability of n / 2^32: no text stays.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy

from tunegate.api.normalization import normalize_label
from tunegate_trainer.checks.languages import Languages
from tunegate_trainer.checks.text import INVISIBLE
from tunegate_trainer.checks.words import text_hash, words
from tunegate_trainer.data.rows import Row
from tunegate_trainer.data.turns import turn_text

ROWS = 20_000
TOKENS = 5_000_000
"""Tokens of all sampled rows, at most: memory is bounded by it."""
OPENING = 4
"""Words by which beginnings of answers are compared."""

_SIGNS = re.compile(rf"{INVISIBLE.pattern}|[^\w\s]+")
"""What `words` leaves out: signs in a row, and characters that nobody sees."""
_PLAIN_SIGNS = re.compile(r"[^\w\s]+")
"""The same for ASCII, which has no such characters, ten times as fast."""


@dataclass(frozen=True)
class Sample:
    """What is asked in the sampled rows, and what is answered; arrays."""

    numbers: Any
    """Of the rows."""
    words: Any
    """uint32: hashes of words, then of signs, in the order of the text; zero ends turns, the words, each sign and a row."""
    repeated: Any
    """Boolean: the answer has that word or sign too."""
    ends: Any
    """Where each row's words end."""
    answers: Any
    """uint64: hashes of whole answers, as labels are compared."""
    openings: Any
    """uint64: hashes of the first words of answers."""
    languages: Sequence[tuple[str, str]]
    """Of question and answer, as ``languages.languages`` says; empty where nobody asked."""


def choose(rows: Any, distinct: Any) -> frozenset[int]:
    """Return the numbers of the rows to read, of ``COLUMNS`` and a boolean array that leaves copies out."""
    candidates = rows[["number", "whole", "tokens"]][distinct]
    order = numpy.argsort(candidates["whole"], kind="stable")[:ROWS]
    within = numpy.cumsum(candidates["tokens"][order], dtype=numpy.uint64) <= TOKENS
    return frozenset(candidates["number"][order][within].tolist())


def take(rows: Iterable[Row], *, with_languages: bool = False) -> Sample:
    """Keep of rows what the checks need."""
    numbers, ends, answers, openings = array("L"), array("L"), array("Q"), array("Q")
    kept, repeated = array("I"), array("b")
    spoken = Languages()
    for row in rows:
        said = [*words(row.answer)]
        known = {*said, *_signs(row.answer)}
        for turn in row.messages[:-1]:
            text = turn_text(turn)
            found, signs = words(text), set(_signs(text))
            kept.extend(_hashes(found))
            kept.append(0)
            repeated.extend(map(known.__contains__, found))
            repeated.append(False)
            for sign in signs:
                kept.extend((*_hashes([sign]), 0))
                repeated.extend((sign in known, False))
        if with_languages:
            spoken.add(row)
        numbers.append(row.number)
        ends.append(len(kept))
        answers.append(text_hash(normalize_label(row.answer)))
        openings.append(text_hash(" ".join(said[:OPENING]) or normalize_label(row.answer)))
    return Sample(
        numpy.array(numbers, numpy.uint32), numpy.array(kept, numpy.uint32), numpy.array(repeated, bool),
        numpy.array(ends, numpy.int64), numpy.array(answers, numpy.uint64), numpy.array(openings, numpy.uint64),
        spoken.found(),
    )  # fmt: skip


def _hashes(found: Iterable[str]) -> Iterator[int]:
    """Return 32 bits for each word, none of which are 0."""
    return (value or 1 for value in map(crc32, map(str.encode, found)))


def _signs(text: str) -> list[str]:
    return (_PLAIN_SIGNS if text.isascii() else _SIGNS).findall(text)
