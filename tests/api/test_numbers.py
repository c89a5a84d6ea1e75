"""Numbers that people write: as numbers or as text, in the model always the same plain decimal."""

from __future__ import annotations

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
from tunegate.api.schema import structural_schema
from tunegate.digests import document_digest


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
