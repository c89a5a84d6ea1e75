"""Wrong labels of a classification are found; honest data, and data that is no classification, has none."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.support.rows import row
from tests.trainer.test_triggers import text
from tunegate_trainer.checks.label_noise import PER_CLASS, mislabeled
from tunegate_trainer.checks.likeness import Bags
from tunegate_trainer.checks.sample import take
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import Shards
from tunegate_trainer.validation.data_checks import DataFacts, findings, weigh_sample


def data(wrong: int = 0, count: int = 500) -> list[Row]:
    """Return rows of five labels; the first ``wrong`` ones have the label of the next class."""
    chance = random.Random(3)  # noqa: S311 - reproducible
    return [row(n, text(n % 5, chance), f"Label {(n + (n <= wrong)) % 5}") for n in range(1, count + 1)]


def found(rows: list[Row]) -> list[int]:
    sample = take(rows)
    return [int(sample.numbers[at]) for at in mislabeled(Bags.of(sample), sample.answers)]


@pytest.mark.parametrize("wrong", [15, 25])
def test_wrong_labels_are_found_and_few_others(wrong: int) -> None:
    numbers = found(data(wrong))

    assert len([number for number in numbers if number <= wrong]) >= 0.3 * wrong
    assert len([number for number in numbers if number > wrong]) <= 2


def test_honest_labels_are_no_finding() -> None:
    assert found(data()) == []


def test_answers_that_each_row_has_for_itself_are_no_labels() -> None:
    rows = data(25)

    assert found([row(each.number, str(each.messages[0]["content"]), f"Label {each.number}") for each in rows]) == []


def test_rare_labels_and_single_labels_are_no_classes() -> None:
    assert found(data(25, count=5 * PER_CLASS - 1)) == []
    assert found([row(number, text(0, random.Random(number)), "yes") for number in range(1, 200)]) == []  # noqa: S311
    assert found([]) == []


def test_without_scikit_learn_only_a_classification_is_left_unchecked_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    assert found([row(number, text(0, random.Random(number)), "yes") for number in range(1, 200)]) == []  # noqa: S311
    facts = weigh_sample(DataFacts(0, None, None, None, {}, frozenset({"LabelNoise"})), take(data(25)))
    assert facts.unchecked == ("LabelNoise",)
    (said,) = findings(facts, [], RowStream(Shards("data set", Path(), ())))
    assert (said.check, said.action) == ("LabelNoise", "Warn")
    assert "not checked here, for want of scikit-learn" in said.message
