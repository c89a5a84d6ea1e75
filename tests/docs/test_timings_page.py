"""The tables of docs/timings.md show medians of the recorded runs beside the earlier times of the same parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chores import generated, timings_page

ROOT = Path(__file__).resolve().parents[2]


def run(day: int, **seconds: float) -> dict[str, Any]:
    parts = [{"name": name, "seconds": value, "cpuSeconds": 2 * value} for name, value in seconds.items()]
    return {"ended": f"2026-11-{day:02}T10:00:00Z", "machine": "2 x x86_64", "parts": parts}


def test_a_part_has_its_median_and_its_earlier_time() -> None:
    runs = [run(7, Cluster=400, Gone=1), run(8, Cluster=6.4, Ask=3), run(9, Cluster=8, Ask=5)]

    tables = timings_page.tables({"demo": runs}).split("### ")[1:]

    assert tables[0].splitlines() == [
        "`make demo`", "",
        "3 runs, medians; 2026-11-07 to 2026-11-09; 2 x x86_64.", "",
        "| part | seconds | CPU seconds | before |", "|---|---:|---:|---:|",
        "| Cluster | 8 | 16 | 346 |",
        "| Ask | 4 | 8 |  |",
        "| sum | 12 | 24 | 1827 |", "",
    ]  # fmt: skip
    assert [table.splitlines()[2] for table in tables[1:]] == ["No run is recorded."] * 3


def test_earlier_times_belong_to_parts_that_exist() -> None:
    sources = {
        "demo": "\n".join(file.read_text() for file in (ROOT / "demo/tunegate_demo").glob("*.py")),
        "test": (ROOT / "tests/run.sh").read_text(),
    }
    for command, before in timings_page.BEFORE.items():
        assert [part for part in before if part != "sum" and part not in sources[command]] == []


def test_the_page_has_a_generated_part() -> None:
    page = timings_page.PAGE.read_text()
    assert "new tables" in generated.replace(page, timings_page.COMMAND, "new tables")
