"""The checks on the example's real license texts: what they find is compared with a plain search of the same rows."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.data.disguises import KNOWN
from benchmarks.data.recall import comparing, hide, rows_of

from tests.support.programs import CACHE, program
from tests.support.rows import SpaceTokenizer
from tunegate.api.datachecks import DataCheck
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.validation.data_checks import DataFacts, weigh

SCRIPT = Path(__file__).resolve().parents[2] / "examples/licenses/prepare_data.py"
CHECKS: frozenset[DataCheck] = frozenset({"PersonalData", "NearDuplicates"})
SURE, SPREAD = 0.7, 0.12
"""The similarity from which rows are pointed out, and three standard errors of its estimate from 128 values."""
MOST_FALSE = 0.005
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's data, as the demo keeps them; on a machine without them they are made from the package index."""
    folder = CACHE / "demo" / f"licenses-{hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:8]}"
    if not (folder / "train.jsonl").exists():
        folder = tmp_path_factory.mktemp("licenses")
        environment = {**os.environ, "PATH": f"{Path(program('uv')).parent}:{os.environ['PATH']}"}
        subprocess.run([sys.executable, SCRIPT, "--out", folder], env=environment, check=True)
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Row]:
    return [row for row in RowStream(find_shards("data set", folder / "train.jsonl")) if isinstance(row, Row)]


@pytest.fixture(scope="module")
def facts(rows: list[Row]) -> DataFacts:
    meter = Meter(SpaceTokenizer(), CHECKS, Questions.of([]), "holder", 17)
    return weigh(meter.measure(rows), "Messages", 1000, CHECKS)


def test_each_row_with_a_mail_address_is_found_and_no_other(rows: list[Row], facts: DataFacts) -> None:
    expected = [row.number for row in rows if any(ADDRESS.search(text) for text in row.texts)]

    assert len(expected) == 35
    assert list(facts.found["PersonalData"]["e-mail address"]) == expected


def test_rows_that_nearly_repeat_another_are_found_as_a_comparison_of_all_pairs_says(
    rows: list[Row], facts: DataFacts
) -> None:
    runs = [three_word_runs(row) for row in rows]
    closest = {
        row.number: max((similarity(runs[at], other) for other in runs[:at]), default=0.0)
        for at, row in enumerate(rows)
    }
    (found,) = facts.found["NearDuplicates"].values()

    assert facts.count("NearDuplicates") == len(found) == 18
    assert min(closest[number] for number in found) > SURE - SPREAD
    assert {number for number, share in closest.items() if share > SURE + SPREAD} <= set(found)


def test_questions_are_found_however_they_are_hidden_and_the_honest_rows_are_left_alone(
    folder: Path, rows: list[Row]
) -> None:
    suite = rows_of(folder / "suite.jsonl")
    blocked, warned = comparing(rows, suite)

    assert len(suite) == 96
    assert len(blocked | warned) <= MOST_FALSE * len(rows)
    for disguise in KNOWN:
        found = hide(suite, [], disguise)
        assert found.blocked + found.warned == len(suite), disguise.name
        assert found.blocked == len(suite) or disguise.name == "a word after each six"


def three_word_runs(row: Row) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", " ".join(row.texts).lower())
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}


def similarity(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    """Return the share of runs that both have (Jaccard)."""
    return len(one & other) / len(one | other)
