"""The development split: deterministic, and never through a group. Validation, baseline and training use the same one.

Which groups go to development depends on their names and the seed, not on the order of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """Positions of rows, in the order of the file."""

    training: tuple[int, ...]
    development: tuple[int, ...]


def split(groups: Sequence[str], fraction: float, seed: int) -> Split:
    """Split rows by their ``groups`` so that ``fraction`` (0 to 1) of the groups, rounded, go to development.

    With a positive fraction and at least two groups, both sides are non-empty.
    """
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).digest())
    count = round(fraction * len(names))
    if fraction > 0 and len(names) > 1:
        count = min(max(count, 1), len(names) - 1)
    development = frozenset(names[:count])
    return Split(
        training=tuple(index for index, name in enumerate(groups) if name not in development),
        development=tuple(index for index, name in enumerate(groups) if name in development),
    )
