"""All rows of a data set through the meter: in this process, or shared between several when there is enough to do."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from tunegate_trainer.checks.meter import Measured, Meter, joined
from tunegate_trainer.data.rows import BrokenRow, Row, RowStream
from tunegate_trainer.meanwhile import one_ahead

CHUNK = 512
CHUNK_TEXT = 1 << 20
"""Rows that are measured at a time, at most, and characters from which no other is added."""
WORTH_SHARING = 16 * 1024 * 1024
"""Bytes of data from which other processes pay: each takes some seconds to load the tokenizer and the recognizers."""
OWN_MEMORY, WORKER_MEMORY = 3 << 29, 1 << 29
"""Bytes of this process, with the columns of a million rows, and of each other: libraries, tokenizer, recognizers and the
rows at work."""
MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container finds its own limit: cgroup version 2, version 1."""
AHEAD = 3
"""Chunks for each process that may wait: the reader is quicker than they are, and memory is bounded."""

Chunk = Sequence[Row | BrokenRow]
Show = Callable[[int], None]


def scan(
    stream: RowStream, meter: Meter, show: Show, workers: int | None = None, worth_sharing: int = WORTH_SHARING
) -> Measured:
    """Measure all rows; ``show`` is told the number of rows from time to time.

    ``workers``: processes beside this one, by default ``worker_count()``. Raises ``BadInput`` for a damaged file.
    """
    workers = workers if workers is not None else worker_count()
    if workers < 2 or stream.shards.size() < worth_sharing:
        measured = (meter.measure(chunk, tokens) for chunk, tokens in one_ahead(meter.tokens, _chunks(stream)))
        return joined(_shown(measured, show))
    return joined(_shown(_shared(stream, meter, workers), show))


def worker_count(limits: Sequence[Path] = MEMORY_LIMITS) -> int:
    """Return how many processes this container has room for: its processors, as far as its memory reaches.

    A container sees all processors of its node, whatever it asked for; stage pods are told their share as
    OMP_NUM_THREADS.
    """
    processors = len(os.sched_getaffinity(0))
    share = os.environ.get("OMP_NUM_THREADS", "")
    if share.isdecimal():
        processors = min(processors, int(share))
    room = [(int(limit) - OWN_MEMORY) // WORKER_MEMORY for limit in map(_content, limits) if limit.isdecimal()]
    return max(1, min([processors, *room]))


def _content(path: Path) -> str:
    """Return the text of a small file, nothing when it can't be read. No limit reads `max`, which is no number either."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _chunks(stream: RowStream) -> Iterator[Chunk]:
    chunk: list[Row | BrokenRow] = []
    text = 0
    for row in stream:
        chunk.append(row)
        text += sum(map(len, row.texts)) if isinstance(row, Row) else 0
        if len(chunk) == CHUNK or text >= CHUNK_TEXT:
            yield chunk
            chunk, text = [], 0
    if chunk:
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
    # The rows are shared already: threads of the tokenizer's own would only be in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _own.append(meter)


def _measure(chunk: Chunk) -> Measured:
    return _own[0].measure(chunk)


def _shared(stream: RowStream, meter: Meter, workers: int) -> Iterator[Measured]:
    # Not forked: the stage serves its progress from a thread, and threads do not survive a fork in a sound state.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(meter,))
    waiting: deque[Future[Measured]] = deque()
    try:
        for chunk in _chunks(stream):
            waiting.append(pool.submit(_measure, chunk))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # After SIGTERM or a damaged file nobody wants the rest: the stage's last word must not wait for it.
        pool.shutdown(wait=False, cancel_futures=True)
