"""The development split: deterministic, and never through a group. Validation, baseline and training use the same one.

Which side a group falls on depends on its name and the seed only, not on order or on other rows: adding rows moves none.
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
    """Split rows by their ``groups`` so that about ``fraction`` (0 to 1) of the groups go to development.

    With a positive fraction and at least two groups, both sides are non-empty.
    """
    names = sorted(set(groups), key=lambda name: _rank(name, seed))
    chosen = [name for name in names if _share(name, seed) < fraction]
    if fraction > 0 and len(names) > 1:
        chosen = chosen or names[:1]
        chosen = chosen if len(chosen) < len(names) else chosen[:-1]
    development = frozenset(chosen)
    return Split(
        training=tuple(index for index, name in enumerate(groups) if name not in development),
        development=tuple(index for index, name in enumerate(groups) if name in development),
    )


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()


def _share(name: str, seed: int) -> float:
    """A number in [0, 1) that belongs to the name."""
    return int.from_bytes(_rank(name, seed)[:8], "big") / 2**64
