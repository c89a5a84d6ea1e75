"""Numbers that people write: as numbers or as text, in the model always the same plain decimal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.builders import make_evaluationsuite, make_finetunejob
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.spec import Method
from tunegate.api.kinds import KINDS
from tunegate.api.markers import UNTYPED
from tunegate.api.numbers import agreeing, count_of, duration, percent, plain, size
from tunegate.api.schema import structural_schema
from tunegate.digests import document_digest

ROOT = Path(__file__).parents[2]
KNOWN_SMALL = {
    "operator/tunegate/answers.py": ["{seconds:g}"],
    "operator/tunegate/api/numbers.py": ["{value:.4g}"],
    "operator/tunegate/deadlines.py": ["{seconds:g}"],
    "operator/tunegate/exchange/bodies.py": ["{seconds:g}"],
    "operator/tunegate/kube/lease.py": ["{self.renew_deadline:g}"],
    "operator/tunegate/reconcile/catalogue/basemodel.py": ["{pause:g}"],
    "operator/tunegate/registry/client.py": ["{self._total:g}", "{self._total:g}"],
    "trainer-image/tunegate_trainer/evaluation/suite_checks.py": ["{bar:g}", "{margin:g}"],
    "trainer-image/tunegate_trainer/validation/data_checks.py": ["{near_duplicates.SIMILARITY:g}"],
}
"""Numbers of the program that are never near a million, a margin, which is below 1, and the one place that rounds."""


@pytest.mark.parametrize(
    ("written", "held"),
    [
        ("1e-3", "0.001"), (0.001, "0.001"), ("0.0010", "0.001"), (1e-05, "0.00001"), ("2e-4", "0.0002"),
        (0, "0"), ("0.0", "0"), (120, "120"), (1.2e4, "12000"), (0.30000000000000004, "0.30000000000000004"),
    ],
    ids=str,
)  # fmt: skip
def test_a_number_is_held_as_one_plain_decimal(written: Any, held: str) -> None:
    read = Method.model_validate({"type": "LoRA", "learningRate": written})
    assert read.learning_rate == held
    assert Method.model_validate(read.to_dict()) == read


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12_345.6, "12346"), (1_234_567_890.0, "1234567890"), (999.96, "1000"), (100.0, "100"), (9.87654, "9.877"),
        (0.001234567, "0.001235"), (1e-7, "0.0000001"), (0.0, "0"), (-12_345.6, "-12346"), (1e21, "1000000000000000000000"),
    ],
    ids=str,
)  # fmt: skip
def test_calculated_numbers_are_written_without_exponents(value: float, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(95, "95 s"), (119.6, "120 s"), (120, "2 min"), (3599, "1 h 0 min"), (5000, "1 h 23 min"), (7190, "2 h 0 min")],
)
def test_a_length_of_time_has_no_sixtieth_minute(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 * 1024**3, "5.0 GiB"), (3 * 1024**5, "3072.0 TiB")],
)
def test_bytes_are_told_in_the_largest_unit(count: int, told: str) -> None:
    assert size(count) == told


def test_no_program_of_ours_writes_numbers_with_exponents() -> None:
    """`:g` with fewer digits than the number has, or with the six that it has by itself."""
    rounded = re.compile(r"\{[^{}]*:[+,]?(?:\.[0-9])?g\}")
    sources = [file for folder in ("operator", "trainer-image", "demo") for file in (ROOT / folder).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix(): rounded.findall(file.read_text()) for file in sources}
    assert len(sources) > 300
    assert {file: found[file] for file in found if found[file]} == KNOWN_SMALL


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 rows repeat, leave them"), (1, "1 row repeats, leave it"), (2, "2 rows repeat, leave them")],
)
def test_words_agree_with_their_number(count: int, said: str) -> None:
    assert f"{count} " + agreeing("[row repeats|rows repeat], leave [it|them]", count) == said
    assert count_of(count, "row") == said.split(" repeat", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.00001, "0.001 %"), (0.05, "5 %"), (0.125, "12.5 %"), (1.0, "100 %")], ids=str
)
def test_a_tiny_share_is_not_shown_as_none(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize("written", [True, "fast", "", "-1", -0.5, float("nan"), float("inf"), 1e16, [], {}], ids=str)
def test_what_is_no_number_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        Method.model_validate({"type": "LoRA", "learningRate": written})


def test_a_fraction_is_at_most_one() -> None:
    with pytest.raises(ValidationError):
        Method.model_validate({"type": "LoRA", "dropout": 1.5})


def test_a_digest_does_not_depend_on_how_a_number_was_written() -> None:
    suites = [
        make_evaluationsuite(primaryMetric={"name": "ExactMatch", "margin": margin, "minimum": minimum}, qualityBar=bar)
        for margin, minimum, bar in (("0.05", "0.6", "0.80"), (0.05, 0.60, 0.8), ("0.050", "0.600", "0.8"))
    ]
    assert len({document_digest(EvaluationSuite.model_validate(one).spec.to_dict()) for one in suites}) == 1
    jobs = [make_finetunejob(method={"type": "LoRA", "learningRate": rate}) for rate in ("2e-4", 0.0002, None)]
    del jobs[2]["spec"]["method"]["learningRate"]
    assert len({document_digest(FineTuneJob.model_validate(one).spec.to_dict()) for one in jobs}) == 1


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.KIND.kind)
def test_defaults_are_written_as_the_model_holds_them(model: Any) -> None:
    """The server stores its own text of a default, and a digest is made of the model's."""

    def numbers(node: Any, path: str) -> None:
        if UNTYPED in node and "default" in node:
            held = ComputePoolSpec.model_validate(
                {"deviceMemory": "1Gi", "clearedFor": ["Public"], "throughput": node["default"]}
            )
            assert held.throughput == node["default"], path
        for name, child in node.get("properties", {}).items():
            numbers(child, f"{path}.{name}")
        if "items" in node:
            numbers(node["items"], f"{path}[]")

    numbers(structural_schema(model), model.KIND.kind)
