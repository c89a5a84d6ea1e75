"""A second language in a few rows is found, one that many rows have is meant, and what is no language is none."""

from __future__ import annotations

import pytest

from tests.support.rows import row
from tunegate_trainer.checks.languages import languages, mixed

ENGLISH = (
    "Please tell me where the parcel is that I ordered last week, number {}, and when it will be delivered to my house."
)
GERMAN = (
    "Bitte sagen Sie mir, wo das Paket ist, das ich letzte Woche bestellt habe, Nummer {}, und wann es geliefert wird."
)
RUSSIAN = "Скажите, пожалуйста, где находится посылка, которую я заказал на прошлой неделе, и когда её доставят?"


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
