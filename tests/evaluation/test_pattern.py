"""The regular-expression alternative takes nobody hostage."""

from __future__ import annotations

import json

import pytest

from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation import pattern
from tunegate_trainer.evaluation.pattern import answer_by_pattern, check_pattern

TEMPLATE = '{{"holder": "{holder}", "years": "{years}"}}'
PATTERN = r"(?P<years>\d{4}(?:-\d{4})?)\s+(?P<holder>[^\n]+?)(?:\.|\n|$)"


def test_named_groups_fill_the_template_as_json() -> None:
    answers = answer_by_pattern(PATTERN, TEMPLATE, ['(c) 1999-2001 "Quoted"\nMore', "nothing here"], json=True)
    assert json.loads(answers[0]) == {"holder": '"Quoted"', "years": "1999-2001"}
    assert answers[1] == ""


def test_group_that_did_not_take_part_is_empty() -> None:
    assert answer_by_pattern(r"a(?P<b>b)?", "<{b}>", ["a", "ab"], json=False) == ["<>", "<b>"]


@pytest.mark.parametrize(
    "bad",
    [
        r"(?=a)b",
        r"(?<!a)b",
        r"(?P<x>a)(?P=x)",
        r"(a)\1",
        r"(?>a)b",
        r"a++",
        r"(?P<x>a)?(?(x)b|c)",
        r"((?:x(?!y)))+",
        "(",
    ],
)
def test_what_re2_does_not_know_is_refused(bad: str) -> None:
    with pytest.raises(BadInput, match=r"baselines\.regex"):
        check_pattern(bad, "")


@pytest.mark.parametrize("template", ["{other}", "{x.__class__}", "{x!r}", "{x:>10}", "{0}", "{", "{x[0]}"])
def test_template_may_name_groups_only(template: str) -> None:
    with pytest.raises(BadInput, match="regexTemplate"):
        check_pattern("(?P<x>a)", template)


def test_pattern_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern, "SECONDS", 2.0)
    with pytest.raises(BadInput, match="takes longer"):
        answer_by_pattern(r"(?P<x>(a+)+)$", "{x}", ["a" * 60 + "b"], json=False)
