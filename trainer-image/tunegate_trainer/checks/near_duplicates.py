"""Rows that nearly repeat an earlier one: MinHash signatures of three-word shingles, compared where bands of them agree.

Source: Broder, On the resemblance and containment of documents (1997); banding as in Leskovec, Rajaraman and Ullman,
Mining of Massive Datasets, 3.4. With 128 values in 32 bands of 4, a pair of Jaccard similarity 0.7 is met with a
probability of 99.98 %, one of 0.5 with 87 %, one of 0.3 with 23 %; the similarity is then estimated from all 128 values
(standard error 0.04 at 0.7). Signatures keep 16 bits of each value: 256 bytes a row. It does not see paraphrases.
"""

from __future__ import annotations

from typing import Any

import numpy

PERMUTATIONS = 128
BAND = 4
SHINGLE = 3
"""Words."""
SIMILARITY = 0.7
"""Estimated Jaccard similarity from which two rows are near duplicates."""
LEAST_WORDS = 8
"""Shorter texts are alike by chance: they are compared as a whole only."""
SEED = 17

Signatures = Any
"""numpy array (rows, PERMUTATIONS) of uint16."""


def signature(found: list[str]) -> Any:
    """Return the signature of a text's words; that of a text of fewer than ``LEAST_WORDS`` is all zeros."""
    from rensa import RMinHash

    if len(found) < LEAST_WORDS:
        return numpy.zeros(PERMUTATIONS, numpy.uint16)
    minhash = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
    minhash.update(list(map(" ".join, zip(*(found[start:] for start in range(SHINGLE)), strict=False))))
    return numpy.asarray(minhash.digest(), numpy.uint32).astype(numpy.uint16)


def repeats(signatures: Signatures) -> Any:
    """Return a boolean array: which rows nearly repeat an earlier one. Memory: some more arrays of 8 bytes a row."""
    rows = len(signatures)
    found = numpy.zeros(rows, bool)
    long = signatures.any(axis=1)
    for start in range(0, PERMUTATIONS, BAND):
        keys = numpy.ascontiguousarray(signatures[:, start : start + BAND]).view(numpy.uint64).ravel()
        order = numpy.argsort(keys, kind="stable")
        order = order[long[order]]
        if len(order) < 2:
            return found
        ordered = keys[order]
        first_of_band = numpy.concatenate([[True], ordered[1:] != ordered[:-1]])
        # Each row is compared with the first of its band and with the one before it: a chain of edits is followed.
        leaders = order[numpy.maximum.accumulate(numpy.where(first_of_band, numpy.arange(len(order)), 0))]
        _mark(found, signatures, order[~first_of_band], leaders[~first_of_band])
        _mark(found, signatures, order[1:][~first_of_band[1:]], order[:-1][~first_of_band[1:]])
    return found


def _mark(found: Any, signatures: Signatures, later: Any, earlier: Any, piece: int = 8_192) -> None:
    for start in range(0, len(later), piece):
        here, there = later[start : start + piece], earlier[start : start + piece]
        open_ = ~found[here]
        here, there = here[open_], there[open_]
        alike = (signatures[here] == signatures[there]).mean(axis=1)
        found[here[alike >= SIMILARITY]] = True
