"""Records in their order, from pages of a listing: one page in memory at a time, as long as the pages come in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

Json = Mapping[str, Any]


def sequence_of(obj: Json) -> int:
    """Return the sequence of an object; 0 for what has none."""
    spec = obj.get("spec")
    found = spec.get("sequence") if isinstance(spec, dict) else None
    return found if isinstance(found, int) else 0


def ordered(objects: Iterable[Json]) -> list[Json]:
    """Return a listing by sequence; what has none comes first."""
    return sorted(objects, key=sequence_of)


async def in_order(pages: AsyncIterator[Sequence[Json]]) -> AsyncIterator[Json]:
    """Yield what the pages hold by sequence. The API server lists by name, but promises no order: what comes early waits."""
    waiting: list[tuple[int, int, Json]] = []
    following, serial = 1, 0
    async for page in pages:
        for obj in page:
            heappush(waiting, (sequence_of(obj), serial, obj))
            serial += 1
        while waiting and waiting[0][0] <= following:
            number, _, obj = heappop(waiting)
            following = max(following, number + 1)
            yield obj
    while waiting:
        yield heappop(waiting)[2]
