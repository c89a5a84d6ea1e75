"""Files stay small enough to be read in one sitting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("operator", "trainer-image", "local-cluster", "demo", "benchmarks", "examples", "charts", "chores", "tests")
USUAL_LINES = 300
MOST_LINES = 450
USUAL_SHARE = 0.95


def lengths() -> Iterator[tuple[int, str]]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            yield len(path.read_text().splitlines()), str(path.relative_to(ROOT))


def test_no_file_is_long_and_few_are_longer_than_usual() -> None:
    files = sorted(lengths())
    longer = [path for lines, path in files if lines > USUAL_LINES]

    assert [] == [path for lines, path in files if lines > MOST_LINES], (
        f"over {MOST_LINES} lines: split it by its ideas"
    )
    assert len(longer) <= (1 - USUAL_SHARE) * len(files), f"too many files over {USUAL_LINES} lines: {longer}"
