"""Rows that occur twice, and training rows that give the suite's questions away."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunegate_trainer.data.rows import Row

GRAM = 13
"""Words. Source: the contamination check of GPT-3 (arXiv 2005.14165, appendix C)."""
BOILERPLATE_SHARE = 0.02
BOILERPLATE_LEAST = 3
"""A 13-gram in more rows than this many, or than this share, of its own file is boilerplate: it gives nothing away."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Overlap:
    """Row numbers of the training file that meet the suite."""

    exact: tuple[int, ...]
    """Same question, whatever the answer."""
    shared: tuple[int, ...]
    """Share 13 words in a row with a question, beyond boilerplate; rows of ``exact`` left out."""


def _normal(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _question(row: Row) -> str:
    """What is asked, without the system turn that all rows share."""
    return "\n".join(_normal(turn["content"]) for turn in row.messages[:-1] if turn["role"] == "user")


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def find_duplicates(rows: Iterable[Row]) -> tuple[int, ...]:
    """Return the numbers of rows whose turns repeat an earlier row, apart from case, spaces and punctuation."""
    seen: set[bytes] = set()
    repeated = []
    for row in rows:
        key = _hash("\0".join(f"{turn['role']} {_normal(turn['content'])}" for turn in row.messages))
        if key in seen:
            repeated.append(row.number)
        seen.add(key)
    return tuple(repeated)


def find_overlap(rows: Sequence[Row], questions: Sequence[Row]) -> Overlap:
    """Compare training rows with the suite's questions."""
    asked = {_hash(_question(question)) for question in questions}
    exact = tuple(row.number for row in rows if _hash(_question(row)) in asked)
    same = frozenset(exact)
    known = _telling_grams(questions)
    frequent = _boilerplate([_grams(_question(row)) for row in rows])
    shared = tuple(row.number for row in rows if row.number not in same and (_grams(_question(row)) - frequent) & known)
    return Overlap(exact, shared)


def _grams(text: str) -> set[bytes]:
    words = text.split()
    return {_hash(" ".join(words[start : start + GRAM])) for start in range(len(words) - GRAM + 1)}


def _telling_grams(questions: Sequence[Row]) -> set[bytes]:
    grams = [_grams(_question(question)) for question in questions]
    union: set[bytes] = set().union(*grams)
    return union - _boilerplate(grams)


def _boilerplate(grams: Sequence[set[bytes]]) -> set[bytes]:
    counts: Mapping[bytes, int] = Counter(gram for each in grams for gram in each)
    limit = max(BOILERPLATE_LEAST, int(BOILERPLATE_SHARE * len(grams)))
    return {gram for gram, count in counts.items() if count > limit}
