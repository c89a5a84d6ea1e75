"""The sketch of a suite's questions, by which the ledger tells that another suite asks the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy

from tunegate.sketch import SIZE, Sketch
from tunegate_trainer.checks.containment import runs
from tunegate_trainer.checks.leakage import common_from, letters_of
from tunegate_trainer.data.rows import Row

PASSAGE = 32
"""Letters: six or seven words. A shorter question is one passage."""
SALT = b"tunegate suite sketch"
COST = 1 << 13
"""Of scrypt (RFC 7914), with blocks of 1 KiB: 8 MiB and some 25 ms for each value."""


def sketch_of(questions: Sequence[Row]) -> Sketch:
    """Return the sketch of questions: what else a question holds, and in which suite it stands, changes no passage."""
    said = list({letters.tobytes(): letters for letters in map(_asked, questions)}.values())
    hashes = [numpy.unique(_passages(letters), return_index=True) for letters in said]
    union, counts = numpy.unique(
        numpy.concatenate([numpy.empty(0, numpy.uint64), *(own for own, _ in hashes)]), return_counts=True
    )
    own = union[counts < common_from(len(said))]
    kept = set(own[:SIZE].tolist())
    passages = {
        letters[start : start + PASSAGE].tobytes()
        for letters, (found, starts) in zip(said, hashes, strict=True)
        for value, start in zip(found.tolist(), starts.tolist(), strict=True)
        if value in kept
    }
    return Sketch(frozenset(map(_slow, passages)), len(own))


def _asked(question: Row) -> Any:
    return letters_of(turn for turn in question.messages[:-1] if turn["role"] != "system")


def _passages(letters: Any) -> Any:
    """Return the hashes of all passages of a question, in their order."""
    if len(letters) >= PASSAGE:
        return runs(letters, PASSAGE)
    whole = hashlib.blake2b(letters.tobytes(), digest_size=8).digest()
    return numpy.array([int.from_bytes(whole, "big")], numpy.uint64)


def _slow(passage: bytes) -> int:
    return int.from_bytes(hashlib.scrypt(passage, salt=SALT, n=COST, r=8, p=1, dklen=8), "big")
