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
from tunegate_trainer.checks.languages import languages
from tunegate_trainer.checks.text import INVISIBLE
from tunegate_trainer.checks.words import text_hash, words
from tunegate_trainer.data.rows import Row, RowStream, make_row
from tunegate_trainer.data.turns import turn_text

ROWS = 20_000
TOKENS = 5_000_000
"""Tokens of all sampled rows, at most: memory is bounded by it."""
OPENING = 4
"""Words by which beginnings of answers are compared."""

_SIGNS = re.compile(rf"{INVISIBLE.pattern}|[^\w\s]+")
"""What `words` leaves out: signs in a row, and characters that nobody sees."""


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


def read(stream: RowStream, numbers: frozenset[int]) -> Iterator[Row]:
    """Read the data again and yield the rows of these numbers."""
    for record in stream.shards.records():
        if record.number in numbers:
            row = make_row(record, stream.form)
            if isinstance(row, Row):
                yield row


def take(rows: Iterable[Row], *, with_languages: bool = False) -> Sample:
    """Keep of rows what the checks need."""
    numbers, ends, answers, openings = array("L"), array("L"), array("Q"), array("Q")
    kept, repeated = array("I"), array("b")
    spoken: list[tuple[str, str]] = []
    for row in rows:
        said = [*words(row.answer)]
        known = {*said, *_SIGNS.findall(row.answer)}
        for piece in _pieces(row):
            kept.extend([*(crc32(word.encode()) or 1 for word in piece), 0])
            repeated.extend([*(word in known for word in piece), False])
        spoken += [languages(row)] if with_languages else []
        numbers.append(row.number)
        ends.append(len(kept))
        answers.append(text_hash(normalize_label(row.answer)))
        openings.append(text_hash(" ".join(said[:OPENING]) or normalize_label(row.answer)))
    return Sample(
        numpy.array(numbers, numpy.uint32), numpy.array(kept, numpy.uint32), numpy.array(repeated, bool),
        numpy.array(ends, numpy.int64), numpy.array(answers, numpy.uint64), numpy.array(openings, numpy.uint64),
        spoken,
    )  # fmt: skip


def _pieces(row: Row) -> Iterator[list[str]]:
    """Yield the words of each turn before the answer, then each of its signs by itself."""
    for turn in row.messages[:-1]:
        said = turn_text(turn)
        yield words(said)
        yield from ([sign] for sign in set(_SIGNS.findall(said)))
