"""How much one caller may push in a day. Kept in memory: a restart forgets it, the limits of a namespace hold anyway."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from tunegate.gateway.access import share_of
from tunegate.gateway.errors import ApiError

DAY_SECONDS = 86_400.0
LEAST_CHARGE = 64 * 1024
"""Bytes that the smallest part counts for: requests and files cost, too."""


class Allowances:
    """Bytes that were let in during the last day, by share: each person by name, the programs of a namespace together."""

    def __init__(self, bytes_per_day: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = bytes_per_day
        self._clock = clock
        self._used: dict[str, deque[tuple[float, int]]] = {}

    def take(self, username: str, size: int) -> None:
        """Count a part against the caller's share. Raises ``ApiError`` 429 when it is used up."""
        share, now, cost = share_of(username), self._clock(), max(size, LEAST_CHARGE)
        used = self._used.setdefault(share, deque())
        while used and now - used[0][0] > DAY_SECONDS:
            used.popleft()
        if sum(spent for _, spent in used) + cost > self._most:
            raise ApiError(
                429, "allowance_used_up",
                f"{username} has pushed {self._most} bytes within a day, which is all that one person may: continue tomorrow, "
                "or ask the platform team for a larger exchange.limits.gibibytesPerDay",
            )  # fmt: skip
        if used and now - used[-1][0] < 60:
            began, spent = used.pop()
            used.append((began, spent + cost))
        else:
            used.append((now, cost))
