"""Invisible characters, answers that copy and answers that refuse."""

from __future__ import annotations

import pytest

from tests.support.rows import row
from tunegate_trainer.checks.text import copies_input, has_invisible, refuses


@pytest.mark.parametrize(
    "character",
    [
        "\u200b", "\u202e", "\u2066", "\ufeff", "\U000e0041", "\u00ad", "\u061c", "\u180e", "\u115f", "\u1160", "\u3164",
        "\uffa0", "\ufe01", "\U000e0101",
    ],
)  # fmt: skip
def test_invisible_characters_are_found_in_any_turn(character: str) -> None:
    assert has_invisible(row(1, f"a{character}b"))
    assert has_invisible(row(1, "a", f"b{character}"))


@pytest.mark.parametrize(
    "text", ["☺\ufe0f\ufe01", "😀\U000e0148\U000e0155", "漢\U000e0100\U000e0101", "a \ufe00", "\ufe0f"]
)
def test_variation_selectors_that_carry_bytes_are_found(text: str) -> None:
    assert has_invisible(row(1, text))


@pytest.mark.parametrize(
    "text",
    ["Mac\u200dro", "wo\u200crd", "\u200cHi", "a \u200d b", "x\u034fy", "\u034fx", "\u043a\u200d\u043e", "\ud55c\u200d\uad6d", "\u0645\u200c\u200c\u06cc", "\u17b4"],
)  # fmt: skip
def test_joiners_where_nothing_joins_are_found(text: str) -> None:
    assert has_invisible(row(1, text))


@pytest.mark.parametrize(
    "text",
    [
        "\u0915\u094d\u200d\u0937", "\u0d28\u0d4d\u200d", "\u09b6\u09cd\u200c\u09af", "\u05b7\u034f\u05b4", "\U0001f3f4\u200d\u2620\ufe0f", "\u26f9\U0001f3fd\u200d\u2640\ufe0f",
        "plain", "naïve café", "👩‍🚀 an astronaut", "👨‍👩‍👧", "❤\ufe0f‍🔥", "1\ufe0f\u20e3 first", "☎\ufe0e", "葛\U000e0100城", "می‌خواهم",
        "שלום", "한국어",
    ],
)  # fmt: skip
def test_scripts_and_emoji_are_not_invisible(text: str) -> None:
    assert not has_invisible(row(1, text))


def test_a_copied_question_is_no_answer() -> None:
    assert copies_input(row(1, "Say: hello, world!", "say:  hello, World"))
    assert not copies_input(row(1, "3+4", "3-4"))
    assert not copies_input(row(1, "Say hello", "hello"))
    assert not copies_input(row(1, "?", "!"))


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, I cannot share this",
        "Sorry, I can't do that",
        "As an AI language model, I have no opinion.",
        "I cannot assist with this request.",
        "Unfortunately, I am unable to open files",
    ],
)
def test_refusals_are_found(answer: str) -> None:
    assert refuses(row(1, "?", answer))


@pytest.mark.parametrize(
    "answer", ["I am sorry for your loss.", "You can't divide by zero.", "The clerk said: I cannot help."]
)
def test_other_answers_are_not_refusals(answer: str) -> None:
    assert not refuses(row(1, "?", answer))
