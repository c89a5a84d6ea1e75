"""Rows that repeat themselves, and rows that give the suite away."""

from __future__ import annotations

from tunegate_trainer.data.overlap import find_duplicates, find_overlap
from tunegate_trainer.data.rows import Row

BOILERPLATE = "permission is hereby granted free of charge to any person obtaining a copy of this software"


def row(number: int, question: str, answer: str = "yes") -> Row:
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Row(number, turns, {})


def sentence(seed: int, words: int = 20) -> str:
    return " ".join(f"word{seed}x{index}" for index in range(words))


def test_a_repeated_row_is_found_whatever_its_spelling() -> None:
    rows = [row(1, "Who are you?"), row(2, "who  are you"), row(3, "Who are you?", "no")]

    assert find_duplicates(rows) == (2,)


def test_a_question_of_the_suite_is_found_with_any_answer() -> None:
    found = find_overlap(
        [row(1, "Capital of France?", "Rome"), row(2, "Something else?")], [row(1, "capital of france")]
    )

    assert (found.exact, found.shared) == ((1,), ())


def test_thirteen_words_in_a_row_are_shared_text() -> None:
    question = sentence(1)
    stolen = "before " + " ".join(question.split()[3:16]) + " after"
    twelve = " ".join(question.split()[3:15]) + " end"

    found = find_overlap([row(1, stolen), row(2, twelve)], [row(1, question)])

    assert (found.exact, found.shared) == ((), (1,))


def test_boilerplate_gives_nothing_away() -> None:
    rows = [row(number, f"{BOILERPLATE} {sentence(number)}") for number in range(1, 101)]
    questions = [row(number, f"{BOILERPLATE} {sentence(number + 1000)}") for number in range(1, 51)]

    assert find_overlap(rows, questions).shared == ()


def test_a_shared_system_turn_is_no_overlap() -> None:
    system = {"role": "system", "content": sentence(7)}
    rows = [Row(1, (system, *row(1, "a?").messages), {})]
    questions = [Row(1, (system, *row(1, "b?").messages), {})]

    found = find_overlap(rows, questions)

    assert (found.exact, found.shared) == ((), ())
