"""The development split: deterministic, and never through a group. Validation, baseline and training use the same one.

Which groups go to development depends on the names of all groups and the seed, not on the order of rows nor on their length:
a row that is too long to be trained on is left out of its side, and moves no other row to the other side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy

from tunegate_trainer.data.rows import Row


def group_key(group: str, seed: int) -> int:
    """Return 64 bits that name a group and put it at a place among the others that depends on the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{group}".encode(errors="surrogatepass")).digest()[:8], "big")


def split(rows: Sequence[Row], group_field: str | None, seed: int, fraction: float) -> Any:
    """Return a boolean array: which of all rows of a data set go to development (``in_development``)."""
    return in_development([group_key(row.group(group_field), seed) for row in rows], fraction)


def in_development(keys: Sequence[int] | Any, fraction: float) -> Any:
    """Return a boolean array: which rows go to development, by the ``group_key`` of each.

    ``fraction`` (0 to 1) of the groups, rounded, go there. With a positive fraction and at least two groups, both sides
    are non-empty.
    """
    array = numpy.asarray(keys, numpy.uint64)
    groups = numpy.unique(array)
    count = round(fraction * len(groups))
    if fraction > 0 and len(groups) > 1:
        count = min(max(count, 1), len(groups) - 1)
    return array < groups[count] if count < len(groups) else numpy.ones(len(array), bool)
