"""Times as counts in buckets that gateways add up and the operator reads: each bucket ends 1.2 times later than the one before."""

from __future__ import annotations

import math
from collections.abc import Mapping

FIRST_SECONDS = 0.001
"""Where the first bucket ends."""
GROWTH = 1.2
LAST = 80
"""Ends at 2,160 seconds: longer than a request may take."""


def bucket(seconds: float) -> int:
    """Return the bucket that a time belongs to, from 0 to ``LAST``."""
    if seconds <= FIRST_SECONDS:
        return 0
    return min(LAST, math.ceil(math.log(seconds / FIRST_SECONDS) / math.log(GROWTH) - 1e-9))


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the time in seconds that a ``share`` of all counted times do not exceed; None where nothing was counted.

    Inside a bucket times are taken to lie evenly on a logarithmic scale: the result is at most 20 percent off.
    """
    total = sum(counts.values())
    if not total:
        return None
    wanted, before = share * total, 0
    for number in sorted(counts):
        if before + counts[number] >= wanted:
            part = (wanted - before) / counts[number]
            return float(FIRST_SECONDS * GROWTH ** (number - 1 + part))
        before += counts[number]
    return float(FIRST_SECONDS * GROWTH**LAST)
