"""Questions of a suite that are hidden in training rows: each way is blocked, warned of or missed, as the benchmark's page says."""

from __future__ import annotations

import pytest
from benchmarks.data.disguises import FURTHER, KNOWN, Disguise
from benchmarks.data.recall import comparing, hide, made_suite

from tests.support.rows import SpaceTokenizer, row
from tunegate.api.datachecks import DataCheck
from tunegate_trainer.checks.containment import PIECE, runs
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.letters import letters, plain, readings
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.data.rows import Row
from tunegate_trainer.validation.data_checks import weigh
from tunegate_trainer.validation.suites import Compared, check_alternatives

SUITE, OTHERS = made_suite()
MOST, NEARLY_ALL = 0.8, 0.9
QUESTION = "Name the holder of the copyright in the notice below, and the years from the first to the last."


@pytest.mark.attack(65)
@pytest.mark.parametrize("disguise", [*KNOWN, *FURTHER], ids=lambda one: one.name)
def test_each_way_to_hide_a_question_ends_as_the_page_says(disguise: Disguise) -> None:
    found = hide(SUITE, OTHERS[:50], disguise)
    share = {"blocked": found.blocked, "warned": found.blocked + found.warned}

    if disguise.verdict == "missed":
        assert found.blocked + found.warned < 0.1 * len(SUITE)
    else:
        assert share[disguise.verdict] >= MOST * len(SUITE)
        assert found.blocked + found.warned >= NEARLY_ALL * len(SUITE)


def test_rows_that_have_nothing_to_do_with_the_suite_are_left_alone() -> None:
    assert comparing(OTHERS, SUITE) == (set(), set())


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("What is 12 + 34, in words and in digits?", "What is 12 - 34, in words and in digits?"),
        ("Explain C++", "Explain C#"),
        ("Is 3.5 > 2?", "Is 3.5 < 2?"),
        ("-", "+"),
        ("Rate: a fine film", "Rate: a fine film that nobody wants to see again before the year is over"),
        ("Where is Bonn?", "Where is Bern?"),
    ],
)  # fmt: skip
def test_another_question_is_not_taken_for_the_suites(question: str, other: str) -> None:
    templates = [f"Rate: film number {number} of the year" for number in range(9)]
    suite = [row(number, text) for number, text in enumerate([question, *templates], 1)]

    assert comparing([row(1, question), row(2, other)], suite)[0] == {1}


def test_a_row_that_holds_less_than_the_question_has_for_itself_is_not_blocked() -> None:
    holders = [f"Copyright 20{number} Company number {number}. " for number in range(10, 60)]
    terms = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software."
    suite = [row(number, holder + terms) for number, holder in enumerate(holders, 1)]
    rows = [row(number, f"Copyright 19{number} Firm {number * 3}. {terms}") for number in range(10, 99)]

    assert comparing(rows, suite)[0] == set()


def test_a_long_row_is_looked_through_to_its_end() -> None:
    filler = " ".join(f"word{number}" for number in range(40_000))
    assert len(letters(filler)) > 3 * PIECE

    for text in (f"{filler} {QUESTION}", f"{QUESTION} {filler}", f"{filler} {QUESTION} {filler}"):
        assert comparing([row(1, text)], [row(1, QUESTION)])[0] == {1}


def test_runs_of_a_long_text_are_those_of_its_pieces() -> None:
    said = letters(" ".join(f"word{number}" for number in range(20_000)))

    assert len(runs(said)) == len(said) - 15
    assert runs(said)[PIECE - 100 : PIECE + 100].tolist() == runs(said[PIECE - 100 : PIECE + 115]).tolist()


@pytest.mark.parametrize(
    ("text", "read"),
    [("Stra\u00dfe", "strasse"), ("\u0421\u043e\u0440\u0443", "copy"), ("na\u00efve", "naive"), ("\u0660\u0661", "01"), ("\u0915\u093f", "\u0915\u093f")],
)  # fmt: skip
def test_letters_that_look_alike_are_read_as_the_same(text: str, read: str) -> None:
    assert plain(text) == read


def test_plain_text_holds_no_other_reading() -> None:
    prose = "Permission is granted (R&D included) to use 50% of it; mail a@b.example, price $5!"

    assert list(readings(prose)) == []


def test_what_a_prompt_or_a_document_tells_of_the_suite_is_pointed_out() -> None:
    compared = Compared(Questions.of([row(1, QUESTION)], "gate"), [], [])
    document = f"{'Some other text. ' * 8000} {QUESTION.upper()} It is Ada, 1999."

    found = check_alternatives(compared, f"Think. {QUESTION}", [document, "nothing"])

    assert [(one.check, one.action, one.count) for one in found] == [("AlternativeKnowsSuite", "Warn", 1)] * 2
    assert not any(word in one.message for one in found for word in ("holder", "Ada"))
    assert check_alternatives(compared, None, ["nothing"]) == []


@pytest.mark.parametrize(
    "text", ["ada\u200b@example.org", "ada\uff20example.org", "mail ad\u00ada@exa\u2060mple.org now"]
)
def test_personal_data_is_found_behind_signs_that_nobody_sees(text: str) -> None:
    checks: frozenset[DataCheck] = frozenset({"PersonalData"})
    measured = Meter(SpaceTokenizer(), checks, Questions.of([]), None, 17).measure([row(1, text)])

    assert weigh(measured, "Messages", 100, checks).found["PersonalData"] == {"e-mail address": [1]}


def test_where_only_warnings_are_on_a_hidden_question_is_warned_of() -> None:
    checks: frozenset[DataCheck] = frozenset({"SharedText"})
    rows: list[Row] = [row(1, f"so: {QUESTION}"), row(2, "something else")]
    measured = Meter(SpaceTokenizer(), checks, Questions.of([row(1, QUESTION)], "gate"), None, 17).measure(rows)

    assert weigh(measured, "Messages", 100, checks).found["SharedText"] == {"gate": [1]}
