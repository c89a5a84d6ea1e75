"""The development split: deterministic, and never through a group. Validation, baseline and training use the same one.

Which groups go to development depends on their names and the seed, not on the order of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy


def group_key(group: str, seed: int) -> int:
    """Return 64 bits that name a group and put it at a place among the others that depends on the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{group}".encode(errors="surrogatepass")).digest()[:8], "big")


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
