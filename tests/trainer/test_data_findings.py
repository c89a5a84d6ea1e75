"""What the measured rows become: findings with places, numbers where something was looked for, and none where not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.rows import SpaceTokenizer, row
from tunegate.api.datachecks import DEFAULTS, DataCheck
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.stage.findings import Finding
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.data.rows import Row
from tunegate_trainer.validation import limits
from tunegate_trainer.validation.data_checks import DataFacts, check_groups, check_questions, weigh


def suite(**task: Any) -> EvaluationSuiteSpec:
    return EvaluationSuiteSpec.model_validate(
        {
            "data": {"uri": "pvc://data/suite.jsonl", "digest": "sha256:" + "0" * 64},
            "task": {"type": "Extraction", "maxTokens": 64, **task},
            "primaryMetric": {"name": "ExactMatch"},
        }
    )


def facts(rows: list[Row], checks: frozenset[DataCheck] = frozenset(), group_field: str | None = None) -> DataFacts:
    meter = Meter(SpaceTokenizer(), checks, Questions.of([]), group_field, 17)
    return weigh(meter.measure(rows), "Messages", 1000, checks)


def with_fields(number: int, **fields: Any) -> Row:
    plain = row(number, f"question {number}")
    return Row(number, plain.messages, fields)


def told(findings: list[Finding]) -> list[tuple[str, str, int, list[str]]]:
    return [(finding.check, finding.action, finding.count, finding.rows) for finding in findings]


def test_a_group_field_that_no_row_has_is_refused() -> None:
    rows = [with_fields(1, other="a"), with_fields(2, holder=None)]

    found = check_groups(facts(rows, group_field="holder"), "holder", str)

    assert told(found) == [("GroupField", "Block", 2, ["1", "2"])]


def test_rows_without_the_group_field_are_pointed_out() -> None:
    rows = [with_fields(1, holder="a"), with_fields(2), with_fields(3, holder="")]

    assert told(check_groups(facts(rows, group_field="holder"), "holder", str)) == [("GroupField", "Warn", 1, ["2"])]
    assert check_groups(facts(rows), None, str) == []
    assert check_groups(facts([rows[0]], group_field="holder"), "holder", str) == []


def test_a_split_that_leaves_training_nothing_is_refused() -> None:
    assert told(limits.check_split(0, 7)) == [("TrainingRows", "Block", 7, [])]
    assert limits.check_split(1, 7) == []


def test_a_question_that_the_template_refuses_is_a_finding() -> None:
    questions = [row(1, "fine"), row(2, "refuse me"), row(3, "word " * 500)]

    found = check_questions(questions, suite(), SpaceTokenizer(), 512)

    assert told(found) == [("SuiteTemplate", "Block", 1, ["2"]), ("SuiteLength", "Block", 1, ["3"])]


def test_classes_are_counted_as_the_evaluation_compares_them() -> None:
    spellings = ["Spam", "spam.", " SPAM ", "Ham", "ham"]
    rows = [row(number, f"question {number}", spellings[number % 5]) for number in range(1, 201)]

    found = limits.check_examples(
        "Classification", 500, facts(rows).label_counts(), suite(type="Classification", labels=["spam", "HAM", "other"])
    )

    assert told(found) == [("MinimumPerClass", "Block", 1, [])]


@pytest.mark.parametrize(
    ("off", "near", "overlap"),
    [
        (set(), 0, 0), ({"NearDuplicates"}, None, 0), ({"Overlap"}, 0, 0), ({"Overlap", "SharedText"}, 0, None),
    ],
)  # fmt: skip
def test_what_was_not_looked_for_is_no_zero(off: set[DataCheck], near: int | None, overlap: int | None) -> None:
    known = facts([row(1, "question")], frozenset(DEFAULTS) - off)

    assert (known.count_if_on("NearDuplicates"), known.count_if_on("Overlap", "SharedText")) == (near, overlap)
