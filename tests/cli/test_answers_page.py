"""What a reviewer sees of the answers: each question in one block, what is wrong first, nothing cut without a word."""

from __future__ import annotations

import re

import pytest

from tests.support.answers import answered
from tunegate.api.answers import AnsweredQuestion, of_lines
from tunegate.cli import screen
from tunegate.cli.inspect.answers_page import Kept, print_page

Capture = pytest.CaptureFixture[str]


def kept(questions: int = 12) -> Kept:
    head, found = of_lines(answered(questions))
    return Kept("team/job", head, found, {"Tuned": 0.667, "BasePlain": 0.167})


def changed(one: Kept, question: AnsweredQuestion, **head: object) -> Kept:
    """Return answers to that question alone."""
    return Kept(one.job, one.head.model_copy(update=head), [question], one.scores)


def page(capsys: Capture, one: Kept, *, against: str = "BasePlain", every: bool = False, full: bool = False) -> str:
    print_page(screen.console(), one, against=against, every=every, full=full)
    return capsys.readouterr().out


def test_a_block_shows_question_expected_answer_and_both_models_marked(capsys: Capture) -> None:
    blocks = page(capsys, kept()).split("\n\n")

    assert blocks[0].splitlines() == [
        "Answers of team/job, marked by ExactMatch",
        "  arm        score",
        "  Tuned      0.667  8 of 12 right",
        "  BasePlain  0.167  2 of 12 right  best alternative",
    ]
    assert blocks[1].splitlines() == [
        "Question 6 wrong",
        "  question          Copyright 6 Ann",
        '  expected          {"holder": "Ann"}',
        r'  Tuned      wrong  {"holder": "Bob"}\x1b[2J',
        '  BasePlain  right  {"holder": "Ann"}',
    ]


def test_wrong_answers_come_first_and_of_them_those_that_the_alternative_got_right(capsys: Capture) -> None:
    shown = page(capsys, kept())

    assert re.findall(r"Question (\d+) (\w+)", shown)[:5] == [
        ("6", "wrong"), ("12", "wrong"), ("3", "wrong"), ("9", "wrong"), ("1", "right"),
    ]  # fmt: skip
    assert shown.endswith("\n\n2 more: --all\n")
    everything = page(capsys, kept(), every=True)
    assert len(re.findall("^Question", everything, re.MULTILINE)) == 12
    assert "--all" not in everything


def test_a_long_question_says_how_much_was_left_out_and_is_whole_when_asked_for(capsys: Capture) -> None:
    one = kept()
    text = "\n".join(f"line {number}\n" for number in range(20))
    long = one.questions[0].model_copy(
        update={"asked": [*one.questions[0].asked[:1], {"role": "user", "content": text}]}
    )

    short = page(capsys, changed(one, long))
    assert "line 5\n" in short
    assert "line 6\n" not in short
    assert re.search(r"… \d+ more characters: --full", short)
    assert "Give the holder." not in short
    whole = page(capsys, changed(one, long), full=True)
    assert "line 19\n" in whole
    assert "asked (system)         Give the holder." in whole
    assert "--full" not in whole


def test_an_answer_that_looks_like_a_block_stays_within_its_own(capsys: Capture) -> None:
    one = kept()
    question = one.questions[0]
    forged = question.answers["Tuned"].model_copy(update={"answer": "x\nQuestion 2 right\rexpected"})
    shown = page(capsys, changed(one, question.model_copy(update={"answers": {**question.answers, "Tuned": forged}})))

    assert re.findall(r"^Question (\d+)", shown, re.MULTILINE) == ["1"]
    assert r"                    Question 2 right\rexpected" in shown


def test_answers_are_shown_with_their_score_where_the_metric_has_degrees(capsys: Capture) -> None:
    one = kept()
    question = one.questions[0]
    partly = question.answers["Tuned"].model_copy(update={"score": 0.4375, "finish": "length", "shortened": True})
    part = question.model_copy(update={"answers": {**question.answers, "Tuned": partly}})
    shown = page(capsys, changed(one, part, metric="RougeL"))

    assert "Question 1 0.438" in shown
    assert " right" not in shown
    assert "(cut: the suite allows no longer answer)" in shown
    assert "(asked with fewer examples or passages: more did not fit)" in shown


def test_alternatives_stand_alone_where_nothing_was_tuned(capsys: Capture) -> None:
    head, found = of_lines(answered(12, ("BasePlain",)))

    shown = page(capsys, Kept("team/job", head, found, {"BasePlain": 0.167}), every=True)

    assert "Tuned" not in shown
    assert re.findall(r"Question (\d+) right", shown) == ["6", "12"]
