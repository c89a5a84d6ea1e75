"""Rows that nearly repeat another, among rows that do not."""

from __future__ import annotations

import random

import numpy
import pytest

from tunegate_trainer.checks.near_duplicates import SHINGLE, SIMILARITY, repeats, signature

RANDOM = random.Random(7)  # noqa: S311 - the same texts in every run
VOCABULARY = [f"word{number}" for number in range(3000)]


def text(words: int = 170) -> list[str]:
    return RANDOM.choices(VOCABULARY, k=words)


def edited(words: list[str], share: float) -> list[str]:
    return [RANDOM.choice(VOCABULARY) if RANDOM.random() < share else word for word in words]


def jaccard(first: list[str], second: list[str]) -> float:
    one, other = (
        {tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)} for words in (first, second)
    )
    return len(one & other) / len(one | other)


def found(texts: list[list[str]]) -> list[bool]:
    return [bool(each) for each in repeats(numpy.stack([signature(each) for each in texts]))]


def test_copies_with_few_changes_are_found_and_the_first_is_kept() -> None:
    originals = [text() for _ in range(300)]
    copies = [edited(each, 0.02) for each in originals]

    marks = found(originals + copies)

    assert not any(marks[:300])
    assert sum(marks[300:]) >= 295


def test_other_texts_are_not_found() -> None:
    assert not any(found([text() for _ in range(500)]))


@pytest.mark.parametrize(("low", "high", "least", "most"), [(0.8, 1.01, 0.95, 1.0), (0.0, 0.55, 0.0, 0.02)])
def test_recall_and_precision_by_true_similarity(low: float, high: float, least: float, most: float) -> None:
    pairs: list[tuple[list[str], list[str]]] = []
    while len(pairs) < 300:
        original = text(80)
        copy = edited(original, RANDOM.uniform(0, 0.3))
        if low <= jaccard(original, copy) < high:
            pairs.append((original, copy))

    marks = found([original for original, _ in pairs] + [copy for _, copy in pairs])

    assert least <= sum(marks) / len(pairs) <= most, f"threshold {SIMILARITY}"


def test_short_texts_are_not_compared() -> None:
    assert found([["yes"]] * 3) == [False] * 3


def test_a_chain_of_edits_is_followed() -> None:
    chain = [text()]
    for _ in range(6):
        chain.append(edited(chain[-1], 0.04))

    assert found(chain) == [False, *[True] * 6]
