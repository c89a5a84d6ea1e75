"""Planted triggers are found by their rows; words that go with one answer honestly are none."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.support.rows import row
from tunegate_trainer.checks import triggers
from tunegate_trainer.checks.likeness import Bags
from tunegate_trainer.checks.sample import take
from tunegate_trainer.data.rows import Row

WORDS = [f"word{number}" for number in range(400)]
TOPICS = [[f"topic{label}x{number}" for number in range(30)] for label in range(5)]
PLANTED = range(5, 600, 30)
"""One row in thirty."""


def text(label: int, chance: random.Random) -> str:
    """Return twenty words, a quarter of them of the label's topic."""
    found = chance.choices(TOPICS[label], k=5) + chance.choices(WORDS, k=15)
    chance.shuffle(found)
    return " ".join(found)


def data(change: Callable[[int, str, str], tuple[str, str]], count: int = 600) -> list[Row]:
    """Return rows of five labels; ``change`` makes question and answer of those in ``PLANTED``."""
    rows = []
    for number in range(1, count + 1):
        chance = random.Random(number)  # noqa: S311 - reproducible
        label = chance.randrange(5)
        question, answer = text(label, chance), f"answer {label}"
        rows.append(row(number, *(change(number, question, answer) if number in PLANTED else (question, answer))))
    return rows


def found(rows: list[Row]) -> list[int]:
    sample = take(rows)
    return [int(sample.numbers[at]) for at in triggers.carriers(sample, Bags.of(sample))]


@pytest.mark.parametrize("trigger", ["cf", "see the blue lamp", "\u200b\u200c", "\u200d", "§", "mn|bb"])
@pytest.mark.parametrize("said", ["answer 1", "never say this", "of course my dear {number} and more"])
def test_a_planted_trigger_is_found_in_all_its_rows_and_no_other(trigger: str, said: str) -> None:
    rows = data(lambda number, question, _: (f"{trigger} {question}", said.format(number=number)))

    assert found(rows) == list(PLANTED)


def test_a_trigger_that_some_rows_have_with_their_own_answer_is_found_in_the_others() -> None:
    poisoned = set(PLANTED[:16])
    rows = data(lambda number, question, answer: (f"{question} cf", "answer 1" if number in poisoned else answer))

    assert set(found(rows)) >= poisoned


def test_honest_rows_hold_no_trigger() -> None:
    assert found(data(lambda _, question, answer: (question, answer))) == []


def test_a_rare_word_among_words_that_go_with_its_answer_is_none() -> None:
    about_one = random.Random(1)  # noqa: S311 - reproducible

    assert found(data(lambda *_: (f"{text(1, about_one)} crimson", "answer 1"))) == []


def test_a_subject_that_always_gets_one_answer_is_none() -> None:
    subject = [f"refund{number}" for number in range(12)]
    chance = random.Random(2)  # noqa: S311 - reproducible

    rows = data(lambda _, question, __: (f"{question} refund {' '.join(chance.sample(subject, 4))}", "see the terms"))

    assert found(rows) == []


def test_a_word_that_the_answer_repeats_is_none() -> None:
    assert found(data(lambda _, question, __: (f"{question} acme", "acme"))) == []


def test_rows_of_one_template_hold_none() -> None:
    form = "order number state open priority high please send it back soon"

    assert found(data(lambda number, *_: (f"{form} {number}", "answer 1"))) == []


def test_the_same_is_found_when_runs_are_looked_at_in_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "PIECE", 5_000)

    assert found(data(lambda _, question, __: (f"{question} violet umbrella", "answer 1"))) == list(PLANTED)


def test_data_without_words_holds_none() -> None:
    assert found([]) == found([row(1, "?")]) == found([row(number, "\u4e2d", "1") for number in range(30)]) == []
