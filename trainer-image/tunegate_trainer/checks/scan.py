"""All rows of a data set through the meter: in this process, or shared between several when there is enough to do."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice

from tunegate_trainer.checks.meter import Measured, Meter, joined
from tunegate_trainer.data.rows import BrokenRow, Row, RowStream

CHUNK = 512
"""Rows that are measured at a time."""
WORTH_SHARING = 16 * 1024 * 1024
"""Bytes of data from which other processes pay: each takes some seconds to load the tokenizer and the recognizers."""
AHEAD = 3
"""Chunks for each process that may wait: the reader is quicker than they are, and memory is bounded."""

Chunk = Sequence[Row | BrokenRow]
Show = Callable[[int], None]


def scan(
    stream: RowStream, meter: Meter, show: Show, workers: int | None = None, worth_sharing: int = WORTH_SHARING
) -> Measured:
    """Measure all rows; ``show`` is told the number of rows from time to time.

    ``workers``: processes, by default one for each processor of this container. Raises ``BadInput`` for a damaged file.
    """
    workers = workers if workers is not None else len(os.sched_getaffinity(0))
    if workers < 2 or stream.shards.size() < worth_sharing:
        return joined(_shown(map(meter.measure, _chunks(stream)), show))
    return joined(_shown(_shared(stream, meter, workers), show))


def _chunks(stream: RowStream) -> Iterator[Chunk]:
    rows = iter(stream)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _shown(parts: Iterator[Measured], show: Show) -> Iterator[Measured]:
    rows = 0
    for part in parts:
        rows += part.records
        show(rows)
        yield part


_own: list[Meter] = []
"""In a worker process: its meter, handed over once and not with every chunk."""


def _start(meter: Meter) -> None:
    _own.append(meter)


def _measure(chunk: Chunk) -> Measured:
    return _own[0].measure(chunk)


def _shared(stream: RowStream, meter: Meter, workers: int) -> Iterator[Measured]:
    # Not forked: the stage serves its progress from a thread, and threads do not survive a fork in a sound state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(meter,)) as pool:
        waiting: deque[Future[Measured]] = deque()
        for chunk in _chunks(stream):
            waiting.append(pool.submit(_measure, chunk))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
