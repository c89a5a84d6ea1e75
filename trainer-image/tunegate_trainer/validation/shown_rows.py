"""A few rows exactly as the model will see them: the text behind the chat template, and which tokens the loss is on.

The tokens and labels are those of ``ChatTokenizer.encode``, which training uses: what is shown cannot differ from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy

from tunegate_trainer.data.conversations import IGNORED, ChatTokenizer
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import Shards
from tunegate_trainer.validation.data_checks import DataFacts

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the lengths: one example each, from the shortest to the longest row."""
LONGEST = 8192
"""Tokens of an example; a longer one nobody reads, and pages stay small."""


@dataclass(frozen=True)
class Piece:
    """Tokens in a row that are all trained on or all not, and all special or all not."""

    text: str
    trained: bool
    special: bool
    tokens: int


@dataclass(frozen=True)
class Example:
    """One row."""

    place: str
    pieces: tuple[Piece, ...]


def choose(facts: DataFacts) -> list[int]:
    """Return the numbers of rows to show, by length: rows that no check found anything in, since people read them."""
    shown = facts.usable & facts.rows["grouped"] & (facts.rows["tokens"] <= LONGEST)
    rows = facts.rows[shown & ~numpy.isin(facts.rows["number"], facts.flagged())]
    if not len(rows):
        return []
    order = numpy.lexsort((rows["number"], rows["tokens"]))
    places = dict.fromkeys(round(share * (len(rows) - 1)) for share in QUANTILES)
    return [int(rows["number"][order[place]]) for place in places]


def read_examples(shards: Shards, numbers: Sequence[int], tokenizer: ChatTokenizer) -> list[Example]:
    """Read the data again as far as needed and return the rows of these numbers, in their order."""
    found: dict[int, Example] = {}
    for row in RowStream(shards):
        if len(found) == len(numbers):
            break
        if isinstance(row, Row) and row.number in numbers:
            found[row.number] = Example(shards.place(row.number), pieces(tokenizer, row))
    return [found[number] for number in numbers]


def pieces(tokenizer: ChatTokenizer, row: Row) -> tuple[Piece, ...]:
    """Return the row's text in pieces. Raises ``ConversationProblem`` for a row that cannot be trained on."""
    encoded = tokenizer.encode(row)
    special = _special_ids(tokenizer.tokenizer)
    kinds = [
        (label != IGNORED, token in special) for token, label in zip(encoded.input_ids, encoded.labels, strict=True)
    ]
    found = []
    end, text = 0, ""
    for (trained, is_special), group in groupby(kinds):
        tokens = len(list(group))
        end += tokens
        # Decoded from the beginning: a token's text may depend on those before it (SentencePiece drops a first space).
        through = tokenizer.tokenizer.decode(
            encoded.input_ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        found.append(Piece(through[len(text) :], trained, is_special, tokens))
        text = through
    return tuple(found)


def _special_ids(tokenizer: Any) -> set[int]:
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)
