"""A second language in a few rows is found, one that many rows have is meant, and what is no language is none."""

from __future__ import annotations

import pytest

from tests.support.rows import row
from tunegate_trainer.checks.language_model import classify, identifier
from tunegate_trainer.checks.languages import TOGETHER, Languages, mixed
from tunegate_trainer.data.rows import Row

ENGLISH = (
    "Please tell me where the parcel is that I ordered last week, number {}, and when it will be delivered to my house."
)
GERMAN = (
    "Bitte sagen Sie mir, wo das Paket ist, das ich letzte Woche bestellt habe, Nummer {}, und wann es geliefert wird."
)
RUSSIAN = "Скажите, пожалуйста, где находится посылка, которую я заказал на прошлой неделе, и когда её доставят?"


def languages(row: Row) -> tuple[str, str]:
    told = Languages()
    told.add(row)
    return told.found()[0]


def test_texts_looked_at_together_are_judged_as_one_by_one_by_the_library() -> None:
    texts = [
        *(text[start : start + size] for text in (ENGLISH, GERMAN, RUSSIAN) for start in range(0, 40, 7) for size in (1, 9, 60)),
        "", "0 1 2", "IN CAPITALS ONLY", "e\u0301te\u0301", "東京の天気はどうですか", "\ud800 half", "a\0b", ENGLISH * 5,
    ]  # fmt: skip
    found = classify(texts)

    expected = [identifier().classify(text) for text in texts]
    assert [code for code, _ in found] == [code for code, _ in expected]
    assert [sure for _, sure in found] == pytest.approx([sure for _, sure in expected], abs=1e-4)


def test_rows_keep_their_order_over_more_than_are_looked_at_together() -> None:
    told = Languages()
    for number in range(TOGETHER):
        told.add(row(number, (ENGLISH, GERMAN)[number % 2].format(number), "yes"))

    assert told.found() == [("en", ""), ("de", "")] * (TOGETHER // 2)


def test_languages_are_told_apart_and_short_texts_are_not_guessed() -> None:
    assert languages(row(1, ENGLISH, GERMAN)) == ("en", "de")
    assert languages(row(1, RUSSIAN, "yes")) == ("ru", "")
    assert languages(row(1, "{'a': 1}", "0x1f " * 40)) == ("", "")


@pytest.mark.parametrize(("german", "expected"), [(4, []), (5, [5]), (100, [100]), (101, [])])
def test_few_rows_of_a_second_language_are_a_finding(german: int, expected: list[int]) -> None:
    found = [languages(row(1, ENGLISH))] * (500 - german) + [languages(row(1, GERMAN))] * german

    assert [len(rows) for _, rows in mixed(found)] == expected
    assert all("(de)" in kind for kind, _ in mixed(found))


def test_answers_in_another_language_are_a_finding_unless_most_are() -> None:
    same, other = languages(row(1, ENGLISH, ENGLISH)), languages(row(1, ENGLISH, GERMAN))

    assert [rows for _, rows in mixed([same] * 95 + [other] * 5)] == [[95, 96, 97, 98, 99]]
    assert list(mixed([same] * 10 + [other] * 90)) == []


def test_rows_of_no_known_language_count_for_nothing() -> None:
    assert list(mixed([])) == list(mixed([("", "")] * 50)) == []
