"""Training rows that give the suite away: the same question, or thirteen words of it."""

from __future__ import annotations

import numpy

from tests.trainer.rows import row
from tunegate_trainer.checks.leakage import Questions, asked, boilerplate
from tunegate_trainer.checks.words import gram_hashes, text_hash
from tunegate_trainer.data.rows import Row

BOILERPLATE = "permission is hereby granted free of charge to any person obtaining a copy of this software"


def sentence(seed: int, words: int = 20) -> str:
    return " ".join(f"word{seed}x{index}" for index in range(words))


def exact(rows: list[Row], questions: list[Row]) -> list[int]:
    known = Questions.of(questions).exact
    return [each.number for each in rows if text_hash(asked(each)) in known]


def shared(rows: list[Row], questions: list[Row]) -> list[int]:
    known = Questions.of(questions)
    pairs = [(each.number, gram) for each in rows for gram in known.shared(asked(each))]
    common = boilerplate(pairs, len(rows))
    return sorted({number for number, gram in pairs if gram not in common})


def test_a_question_of_the_suite_is_found_with_any_answer() -> None:
    rows = [row(1, "Capital of France?", "Rome"), row(2, "Something else?")]

    assert exact(rows, [row(1, "capital of france")]) == [1]


def test_questions_without_words_are_compared_as_they_are() -> None:
    assert exact([row(1, "+"), row(2, "-")], [row(1, "-")]) == [2]


def test_thirteen_words_in_a_row_are_shared_text() -> None:
    question = sentence(1)
    stolen = "before " + " ".join(question.split()[3:16]) + " after"
    twelve = " ".join(question.split()[3:15]) + " end"

    assert shared([row(1, stolen), row(2, twelve)], [row(1, question)]) == [1]


def test_boilerplate_gives_nothing_away() -> None:
    rows = [row(number, f"{BOILERPLATE} {sentence(number)}") for number in range(1, 101)]
    questions = [row(number, f"{BOILERPLATE} {sentence(number + 1000)}") for number in range(1, 51)]

    assert shared(rows, questions) == []


def test_boilerplate_of_the_training_file_alone_gives_nothing_away_either() -> None:
    rows = [row(number, f"{BOILERPLATE} {sentence(number)}") for number in range(1, 101)]

    assert shared(rows, [row(1, BOILERPLATE)]) == []


def test_grams_depend_on_the_order_of_words_and_on_nothing_around_them() -> None:
    words = [f"w{number}" for number in range(30)]

    inside = gram_hashes(words[5:18], 13)

    assert len(inside) == 1
    assert numpy.isin(inside, gram_hashes(words, 13)).all()
    assert not numpy.isin(gram_hashes(words[5:18][::-1], 13), gram_hashes(words, 13)).any()
    assert len(gram_hashes(words, 13)) == 18
    assert len(gram_hashes(words[:12], 13)) == 0
