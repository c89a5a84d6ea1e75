"""How many requests and tokens one client may use in a minute, beside its fair share of what there is at one moment.

A token bucket for each of both: it holds a minute's worth and fills evenly. A request needs one request and more than no
token left; the tokens that it came to are taken when its answer ends, so a client may owe some, and waits longer then. Each
gateway counts for itself.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tunegate.api.modelserver import ClientQuota
from tunegate.gateway.errors import ApiError

REMEMBERED = 4096
"""Clients; of more the one that asked longest ago is forgotten."""
MINUTE = 60.0


@dataclass
class _Bucket:
    left: float
    filled_at: float

    def fill(self, per_minute: int, now: float) -> None:
        self.left = min(per_minute, self.left + per_minute * (now - self.filled_at) / MINUTE)
        self.filled_at = now


class Quotas:
    """The minutes of all clients."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def admit(self, client: str, quota: ClientQuota) -> None:
        """Count a request. Raises ``ApiError`` 429 with the seconds until the client may ask again."""
        requests, tokens = quota.requests_per_minute, quota.tokens_per_minute
        if requests is not None:
            self._check(client, "requests", requests, 1.0)
        if tokens is not None:
            self._check(client, "tokens", tokens, 0.0)
        if requests is not None:
            self._bucket(client, "requests", requests).left -= 1.0

    def spend(self, client: str, quota: ClientQuota, tokens: int) -> None:
        """Count the tokens of a request that has ended."""
        if quota.tokens_per_minute is not None:
            self._bucket(client, "tokens", quota.tokens_per_minute).left -= tokens

    def _check(self, client: str, what: str, per_minute: int, needed: float) -> None:
        left = self._bucket(client, what, per_minute).left
        if left >= needed and left > 0:
            return
        seconds = math.ceil((max(needed, 1.0) - left) * MINUTE / per_minute)
        raise ApiError(
            429,
            "quota_used",
            f"this server takes {per_minute} {what} a minute of one client, and yours are used; try again in {seconds} s",
            retry_after=seconds,
        )

    def _bucket(self, client: str, what: str, per_minute: int) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault((client, what), _Bucket(per_minute, now))
        self._buckets.move_to_end((client, what))
        bucket.fill(per_minute, now)
        while len(self._buckets) > 2 * REMEMBERED:
            self._buckets.popitem(last=False)
        return bucket
