"""Training rows that give the suite away: the same question, or thirteen words of it."""

from __future__ import annotations

import numpy
import pytest

from tests.support.rows import SpaceTokenizer, row
from tunegate.api.datachecks import DataCheck
from tunegate_trainer.checks.leakage import SAMPLE, Questions
from tunegate_trainer.checks.meter import Measured, Meter, joined
from tunegate_trainer.checks.words import gram_hashes, word_hashes
from tunegate_trainer.data.rows import Row
from tunegate_trainer.validation import data_checks

CHECKS: frozenset[DataCheck] = frozenset({"Overlap", "SharedText"})

BOILERPLATE = "permission is hereby granted free of charge to any person obtaining a copy of this software"


def sentence(seed: int, words: int = 20) -> str:
    return " ".join(f"word{seed}x{index}" for index in range(words))


def asked(rows: list[Row], questions: list[Row]) -> list[int]:
    return list(found(rows, Questions.of(questions)).get("Overlap", {}).get("", []))


def shared(rows: list[Row], questions: list[Row]) -> list[int]:
    return list(found(rows, Questions.of(questions))["SharedText"][""])


def found(rows: list[Row], questions: Questions) -> dict[DataCheck, data_checks.Kinds]:
    return data_checks.weigh(measured(rows, questions), "Messages", 1000, CHECKS).found


def measured(rows: list[Row], questions: Questions, piece: int = 7) -> Measured:
    """Measure in pieces, as processes do."""
    meter = Meter(SpaceTokenizer(), CHECKS, questions, None, 17)
    return joined(meter.measure(rows[start : start + piece]) for start in range(0, len(rows), piece))


def test_a_question_of_the_suite_is_found_with_any_answer() -> None:
    rows = [row(1, "Capital of France?", "Rome"), row(2, "Something else?")]

    assert asked(rows, [row(1, "capital of france")]) == [1]


def test_questions_without_words_are_compared_as_they_are() -> None:
    assert asked([row(1, "+"), row(2, "-")], [row(1, "-")]) == [2]


def test_thirteen_words_in_a_row_are_shared_text() -> None:
    question = sentence(1)
    stolen = "before " + " ".join(question.split()[3:16]) + " after"
    twelve = " ".join(question.split()[3:15]) + " end"

    assert shared([row(1, stolen), row(2, twelve)], [row(1, question)]) == [1]


def test_boilerplate_gives_nothing_away() -> None:
    rows = [row(number, f"{BOILERPLATE} {sentence(number)}") for number in range(1, 101)]
    questions = [row(number, f"{BOILERPLATE} {sentence(number + 1000)}") for number in range(1, 51)]

    assert shared(rows, questions) == []


def test_a_passage_is_no_boilerplate_because_training_repeats_it() -> None:
    rows = [row(number, f"{BOILERPLATE} {sentence(number)}") for number in range(1, 101)]

    assert asked(rows, [row(1, BOILERPLATE)]) == list(range(1, 101))
    assert asked(rows, [row(number, BOILERPLATE) for number in range(1, 51)]) == list(range(1, 101))
    assert shared(rows, [row(1, f"{BOILERPLATE} {sentence(1000)}")]) == list(range(1, 101))


def test_a_passage_of_many_questions_is_no_boilerplate_when_few_rows_have_it() -> None:
    rows = [row(number, sentence(number)) for number in range(3, 101)]
    questions = [row(number, f"{BOILERPLATE} {sentence(number + 1000)}") for number in range(1, 51)]
    twenty = [row(1, BOILERPLATE), row(2, " ".join(sentence(1020).split()[:14])), *rows]

    assert shared(twenty, questions) == [1, 2]


@pytest.mark.parametrize("role", ["system", "tool", "assistant"])
def test_a_passage_and_a_question_are_found_in_every_turn(role: str) -> None:
    asked_for = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]

    def holding(text: str) -> Row:
        turns = [{"role": role, "content": text}, *asked_for] if role != "assistant" else [
            asked_for[0], {"role": "assistant", "content": text}]  # fmt: skip
        return Row(1, tuple(turns), {})

    passage = " ".join(sentence(1).split()[3:16])

    assert shared([holding(f"so: {passage} it says"), row(2, sentence(2))], [row(1, sentence(1))]) == [1]
    assert asked([holding(f"so: {sentence(1)} it says"), row(2, sentence(2))], [row(1, sentence(1))]) == [1]


def test_a_question_in_the_middle_of_a_conversation_is_found() -> None:
    turns = [row(1, "Hi", "Hello"), row(1, "Capital of France?", "Paris"), row(1, "Thanks", "Bye")]
    conversation = Row(1, tuple(turn for each in turns for turn in each.messages), {})

    assert asked([conversation], [row(1, "capital of  France")]) == [1]


def test_a_passage_without_spaces_between_words_is_found() -> None:
    passage = "数据检查在训练之前阅读每一行文字并说明发现了什么"
    rows = [row(1, f"请看 {passage}。谢谢"), row(2, "这是另外一个完全不同的问题没有共同的内容"), row(3, passage[3:17])]

    assert asked(rows, [row(1, passage)]) == [1]
    assert shared(rows, [row(1, passage)]) == [3]


def test_what_is_kept_of_boilerplate_does_not_grow_with_the_text() -> None:
    long = " ".join(f"common{number}" for number in range(2000))
    rows = [row(number, f"{long} {sentence(number)}") for number in range(1, 21)]

    questions = Questions.of([row(number, f"{long} {sentence(number + 1000)}") for number in range(1, 21)])

    kept = measured(rows, questions).common

    assert len(kept.samples) <= 20 * 2 * SAMPLE
    assert kept.telling_rows(20) == {"": []}


def suites(**questions: list[Row]) -> Questions:
    return Questions.together([Questions.of(rows, name) for name, rows in questions.items()])


def test_each_suite_has_its_own_rows() -> None:
    rows = [
        row(1, sentence(1)), row(2, sentence(2)), row(3, "Both?"), row(4, sentence(4)),
        row(5, f"around {' '.join(sentence(2).split()[2:16])} it"),
    ]  # fmt: skip

    told = found(rows, suites(own=[row(1, sentence(1)), row(2, "both")], other=[row(1, sentence(2)), row(2, "Both")]))

    assert told["Overlap"] == {"own": [1, 3], "other": [2, 3]}
    assert told["SharedText"] == {"own": [], "other": [5]}


def test_a_row_that_asks_one_suites_question_may_share_text_with_another() -> None:
    longer = f"{sentence(1)} and {sentence(5, 10)}"

    told = found([row(1, sentence(1))], suites(own=[row(1, sentence(1))], other=[row(1, longer)]))

    assert told["Overlap"] == {"own": [1]}
    assert told["SharedText"] == {"own": [], "other": [1]}


def test_what_is_boilerplate_of_one_suite_is_a_passage_of_another() -> None:
    rows = [row(number, f"{BOILERPLATE} {sentence(number)}") for number in range(1, 101)]
    many = [row(number, f"{BOILERPLATE} {sentence(number + 1000)}") for number in range(1, 51)]

    told = found(rows, suites(own=many, other=[row(1, f"{BOILERPLATE} {sentence(1000)}")]))

    assert told["SharedText"] == {"own": [], "other": list(range(1, 101))}


def test_boilerplate_of_further_suites_hides_no_passage_of_the_own_suite() -> None:
    long = " ".join(f"common{number}" for number in range(2000))
    own = [row(number, f"{BOILERPLATE} {sentence(number + 1000)}") for number in range(1, 51)]
    other = [row(number, f"{long} {sentence(number + 2000)}") for number in range(1, 51)]
    rows = [row(number, f"{long} {sentence(number)}") for number in range(2, 101)]

    told = found([row(1, f"{long} {BOILERPLATE}"), *rows], suites(own=own, other=other))

    assert told["SharedText"] == {"own": [1], "other": []}


def test_grams_depend_on_the_order_of_words_and_on_nothing_around_them() -> None:
    words = word_hashes([f"w{number}" for number in range(30)])

    inside = gram_hashes(words[5:18], 13)

    assert len(inside) == 1
    assert numpy.isin(inside, gram_hashes(words, 13)).all()
    assert not numpy.isin(gram_hashes(words[5:18][::-1], 13), gram_hashes(words, 13)).any()
    assert len(gram_hashes(words, 13)) == 18
    assert len(gram_hashes(words[:12], 13)) == 0
