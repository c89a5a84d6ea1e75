"""The benchmarks of the data checks say what their page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.data.million import BASIC, GROUPS, groups, make_config, make_rows, write_rows

from tests.support.model_folder import make_model
from tunegate.api.datachecks import DEFAULTS
from tunegate_trainer.data.rows import Row, make_row
from tunegate_trainer.data.shards import Record, open_dataset

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["recall.py", "surprises.py"])
def test_recall_and_precision_are_those_of_the_page(name: str) -> None:
    script = ROOT / "benchmarks/data" / name
    paths = os.pathsep.join(str(ROOT / name) for name in ("operator", "trainer-image", "."))

    table = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths}
    )

    assert table.returncode == 0, table.stderr
    assert table.stdout.strip() in (script.parent / "README.md").read_text(), table.stdout


def test_every_check_is_timed_in_one_group() -> None:
    assert BASIC <= DEFAULTS.keys()
    assert set().union(*GROUPS.values()) <= DEFAULTS.keys()
    assert sorted([*BASIC, *(name for checks in groups().values() for name in checks)]) == sorted(DEFAULTS)


def test_the_stage_is_told_to_run_the_basic_checks_and_those_of_the_group(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    data, questions = (write_rows(tmp_path / name, make_rows(5)) for name in ("rows.jsonl", "suite.jsonl"))

    config = make_config(model, data, questions, GROUPS["leakage"])

    assert {one.name for one in config.checks if one.action != "Off"} == BASIC | GROUPS["leakage"]
    assert open_dataset(config.dataset, tmp_path)[0].size() == data.stat().st_size


def test_rows_are_the_same_in_every_run_and_all_sound() -> None:
    rows = list(make_rows(50))

    assert rows == list(make_rows(60))[:50]
    assert all(isinstance(make_row(Record(1, row), "Messages"), Row) for row in rows)
    assert len({row["messages"][0]["content"] for row in rows}) == 50
