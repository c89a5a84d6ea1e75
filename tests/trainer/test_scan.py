"""Rows through several processes: how many there are, and that nothing goes on when the stage must end."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest

from tunegate_trainer.checks import scan
from tunegate_trainer.checks.meter import COLUMNS, SPARE_ROWS, Measured, joined
from tunegate_trainer.data.rows import BrokenRow, Row, RowStream
from tunegate_trainer.data.shards import find_shards

GIB = 1 << 30


@pytest.fixture
def sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.usefixtures("sixteen_processors")
def test_the_share_of_the_pod_counts_and_not_the_processors_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scan.worker_count(limits=()) == 16

    for share, workers in (("3", 3), ("64", 16), ("0", 1), ("many", 16)):
        monkeypatch.setenv("OMP_NUM_THREADS", share)
        assert scan.worker_count(limits=()) == workers


@pytest.mark.usefixtures("sixteen_processors")
@pytest.mark.parametrize(
    ("limit", "workers"),
    [(str(4 * GIB), 5), (str(GIB // 2), 1), ("max", 16), ("9223372036854771712", 16)],
)
def test_memory_bounds_the_processes(tmp_path: Path, limit: str, workers: int) -> None:
    """Both versions of cgroups have a word for no limit: `max` and a number beyond all memory."""
    (tmp_path / "limit").write_text(f"{limit}\n")

    assert scan.worker_count(limits=(tmp_path / "absent", tmp_path / "limit")) == workers


class SlowMeter:
    """Takes a second for each chunk, as rows do that are much larger than most."""

    def measure(self, rows: Sequence[Row | BrokenRow]) -> Measured:
        time.sleep(1)
        return Measured(records=len(rows))


def test_a_scan_that_is_stopped_does_not_wait_for_chunks_in_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n" * scan.CHUNK * 20)
    slow: Any = SlowMeter()
    parts = scan._shared(RowStream(find_shards("data set", path)), slow, 1)
    next(parts)

    start = time.monotonic()
    parts.close()  # type: ignore[attr-defined]

    assert time.monotonic() - start < 0.5


def test_long_rows_come_in_smaller_chunks(tmp_path: Path) -> None:
    """What is at work at a time is bounded by text, not by a number of rows of any length."""
    path = tmp_path / "rows.jsonl"
    long = "x" * (scan.CHUNK_TEXT // 3)
    path.write_text("".join(f'{{"prompt": "{text}", "completion": "b"}}\n' for text in [long] * 7 + ["a"] * 3))

    chunks = list(scan._chunks(RowStream(find_shards("data set", path))))

    assert [len(chunk) for chunk in chunks] == [3, 3, 4]
    assert [row.number for chunk in chunks for row in chunk] == list(range(1, 11))


def test_columns_of_all_parts_are_kept_in_their_order() -> None:
    parts = [numpy.zeros(size, COLUMNS) for size in (3, 0, SPARE_ROWS, 2)]
    for start, part in zip((1, 4, 4, 4 + SPARE_ROWS), parts, strict=True):
        part["number"] = numpy.arange(start, start + len(part))

    whole = joined(Measured(part, records=len(part)) for part in parts)

    assert whole.rows["number"].tolist() == list(range(1, 6 + SPARE_ROWS))
    assert whole.records == 5 + SPARE_ROWS
