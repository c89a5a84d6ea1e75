"""The sketch of a suite's questions: the same for questions that are written otherwise, another for others."""

from __future__ import annotations

import random

from tests.support.rows import row
from tunegate.sketch import SAME_EXAM, Sketch
from tunegate_trainer.data.rows import Row
from tunegate_trainer.validation.sketching import sketch_of

WORDS = [
    f"{first}{second}"
    for first in ("mar", "tel", "vos", "kin", "dub")
    for second in ("on", "ira", "ex", "uld", "amp", "ey")
]


def questions(seed: int, count: int = 40) -> list[str]:
    chance = random.Random(seed)  # noqa: S311
    return [" ".join(chance.choices(WORDS, k=20)) for _ in range(count)]


def sketched(texts: list[str], role: str = "user") -> Sketch:
    system = {"role": "system", "content": "Answer in one word."}
    rows = [row(number, text) for number, text in enumerate(texts, 1)]
    return sketch_of([Row(each.number, (system, *each.messages), {}) for each in rows])


def test_order_case_signs_and_more_around_change_little() -> None:
    texts = questions(1)
    plain = sketched(texts)

    assert plain.passages > 1000
    assert sketched(texts[::-1]) == plain
    assert sketched([text.upper().replace(" ", ".\u200b ") for text in texts]) == plain
    assert sketched([f"Tell me: {text}, please" for text in texts]).share(plain) > 0.8


def test_a_suite_with_a_part_of_anothers_questions_is_the_same_exam() -> None:
    texts = questions(1)
    plain = sketched(texts)

    assert sketched(texts[:35] + questions(2, 5)).share(plain) >= SAME_EXAM
    assert sketched(texts[:10]).share(plain) >= SAME_EXAM
    assert sketched(texts + questions(3, 120)).share(plain) >= SAME_EXAM
    assert sketched(questions(4)).share(plain) == 0


def test_questions_of_few_words_count_as_a_whole() -> None:
    texts = [f"{number} + {number + 1}" for number in range(30)]

    assert sketched(texts).passages == 30
    assert sketched([text.replace(" ", "") for text in texts]) == sketched(texts)


def test_no_question_is_in_a_sketch() -> None:
    known = sketched(["the secret word of this exam is marzipan"]).text

    assert "marzipan" not in known
    assert len(sketched(questions(1)).text) < 800
