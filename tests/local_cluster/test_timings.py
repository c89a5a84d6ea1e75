"""`make test` and `make demo` say which of their parts became slower, and keep what they took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunegate_local import timings
from tunegate_local.timings import Part, keep

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "timings.json"


def slower(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("slower: ")]


def test_a_part_that_takes_twice_its_usual_time_is_named(file: Path) -> None:
    for seconds in (20, 22, 400):
        keep("test", [Part("Units", seconds, 30), Part("Cluster", 100, 40)], file=file)

    shown = keep("test", [Part("Units", 44, 31), Part("Cluster", 199, 80)], file=file)

    assert slower(shown) == [
        "slower: Units took 44 seconds, before 22",
        "slower: Cluster took 80 CPU seconds, before 40",
    ]
    assert "sum" in shown


def test_short_parts_and_new_parts_are_not_named(file: Path) -> None:
    assert slower(keep("demo", [Part("Forgery", 1, 1), Part("Ask", 40, 2)], file=file)) == []
    assert slower(keep("demo", [Part("Forgery", 9, 9), Part("Job", 900, 700)], file=file)) == []


def test_commands_are_kept_apart_and_only_the_last_runs(file: Path) -> None:
    for number in range(timings.KEPT_RUNS + 3):
        keep("test", [Part("Units", number, 0)], file=file)
    keep("demo", [Part("Units", 500, 0)], file=file)

    kept = json.loads(file.read_text())
    assert [run["parts"][0]["seconds"] for run in kept["test"]] == list(range(3, timings.KEPT_RUNS + 3))
    assert len(kept["demo"]) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"test": [{}]}', '{"test": 3}', "\x00"])
def test_a_file_that_is_broken_is_begun_again(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    keep("test", [Part("Units", 5, 5)], file=file)
    assert json.loads(file.read_text())["test"][0]["parts"][0]["name"] == "Units"


def test_the_processors_time_grows_with_what_they_do() -> None:
    before = timings.busy_seconds()
    subprocess.run([sys.executable, "-c", "for _ in range(8_000_000): pass"], check=True)
    assert timings.busy_seconds() > before


def test_parts_come_from_the_shell_as_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tunegate_local.timings", "test"], input="Units, types\t12\t7\nCluster\t3\t0\n",
        env={"PYTHONPATH": str(REPOSITORY / "local-cluster"), "TUNEGATE_CACHE": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[1].split() == ["Units,", "types", "12", "-", "7", "-"]
    assert json.loads((tmp_path / "timings.json").read_text())["test"][0]["parts"][0] == {
        "name": "Units, types", "seconds": 12.0, "cpuSeconds": 7.0,
    }  # fmt: skip
