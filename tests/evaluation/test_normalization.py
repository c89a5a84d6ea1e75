"""When two answers count as the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.suites import SCHEMA, suite_spec
from tunegate_trainer.data.strict_json import NotJson, parse_json
from tunegate_trainer.evaluation.metrics import MacroF1, metric_for
from tunegate_trainer.evaluation.normalization import same_json, same_label, same_text

values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ('{"years":"1999","holder":"A  B"}', '{"holder": "A B", "years": "1999"}', True),
        ('{"holder": "A B", "years": "1999"}\n', '{"holder": "A B", "years": "1999"}', True),
        ('Here it is: {"holder": "A B", "years": "1999"}', '{"holder": "A B", "years": "1999"}', False),
        ('{"holder": "a b", "years": "1999"}', '{"holder": "A B", "years": "1999"}', False),
        ('{"holder": "A B", "years": 1999}', '{"holder": "A B", "years": "1999"}', False),
        ('{"holder": "X", "holder": "A B", "years": "1999"}', '{"holder": "A B", "years": "1999"}', False),
        ('{"n": true}', '{"n": 1}', False),
        ("[" * 100_000, "[]", False),
        ("NaN", "null", False),
    ],
)
def test_json_is_compared_as_values(answer: str, expected: str, same: bool) -> None:
    assert same_json(answer, expected) is same


def test_expected_answer_that_is_not_json_is_an_error_and_not_a_miss() -> None:
    with pytest.raises(NotJson):
        same_json("{}", "no json")


@given(values)
def test_every_value_equals_itself_however_it_is_written(value: object) -> None:
    assert same_json(json.dumps(value, indent=3, sort_keys=True), json.dumps(value, ensure_ascii=False))
    assert parse_json(json.dumps(value)) == value


def test_text_keeps_case_and_labels_do_not() -> None:
    assert same_text(" a\n b ", "a b")
    assert not same_text("A b", "a b")
    assert same_text("e\u0301", "\u00e9")
    assert same_label(" Permissive. ", "permissive")
    assert not same_label("Permissive!", "permissive")


def test_exact_match_follows_the_task() -> None:
    json_task = suite_spec(task={"type": "Extraction", "jsonSchema": json.dumps(SCHEMA)}).task
    labels = suite_spec(task={"type": "Classification", "labels": ["Yes", "No"]}).task
    text = suite_spec().task
    assert metric_for("ExactMatch", json_task).of(['{"a": "b"}'], ['{ "a": "b" }']) == 1
    assert metric_for("ExactMatch", labels).of(["yes."], ["Yes"]) == 1
    assert metric_for("ExactMatch", text).of(["yes."], ["Yes"]) == 0


def test_metric_that_the_task_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        metric_for("MacroF1", suite_spec().task)
    with pytest.raises(ValueError, match="jsonSchema"):
        metric_for("SchemaValidity", suite_spec().task)


def test_answer_outside_the_labels_costs_recall_of_the_right_class_only() -> None:
    metric = MacroF1(["a", "b"])
    assert metric.per_class(["a", "a", "?"], ["a", "a", "b"]) == {"a": 1.0, "b": 0.0}
    assert metric.of(["a", "a", "?"], ["a", "a", "b"]) == 0.5
