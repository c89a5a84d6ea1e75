"""What counts as the same text, as a whole and in runs of words."""

from __future__ import annotations

from zlib import crc32

import pytest

from tests.support.rows import SpaceTokenizer, row
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.checks.near_duplicates import repeats
from tunegate_trainer.checks.words import gram_hashes, normal, word_hashes, words
from tunegate_trainer.data.rows import Row


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Is it so?", "is  it\nSO"), ("Straße.", "STRASSE"), ("\uff21\uff22\uff23", "abc"), ("e\u0301", "\u00e9"), ("好。", "好"),
    ],
)  # fmt: skip
def test_the_same_but_for_writing(first: str, second: str) -> None:
    assert normal(first) == normal(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("3+4", "3-4"), ("C++", "C#"), ("-5", "5"), ("a, b", "a b"), ("?", "!"), ("कि", "की"), ("a == b", "a != b"), ("x.5", "x5"),
    ],
)  # fmt: skip
def test_signs_make_another_text(first: str, second: str) -> None:
    assert normal(first) != normal(second)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don\u2019t stop, now!", ["don", "t", "stop", "now"]),
        ("हिन्दी की किताबें", ["हिन्दी", "की", "किताबें"]),
        ("训练 data前", ["训", "练", "data", "前"]),
        ("ที่ดี", ["ที่", "ดี"]),
        ("한국어 좋다", ["한국어", "좋다"]),
    ],
)
def test_words_keep_their_marks_and_characters_stand_alone_where_no_space_does(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_hashes_of_runs_are_those_of_their_definition() -> None:
    """A run's words, hashed, are the digits of a number to the base of the factor, modulo 2^64; the high bits are mixed in."""
    found = [f"word{number % 7}" for number in range(40)]
    expected = []
    for start in range(len(found) - 12):
        value = 0
        for word in found[start : start + 13]:
            value = (value * 0x9E3779B97F4A7C15 + crc32(word.encode())) % 2**64
        expected.append(value ^ (value >> 29))

    assert gram_hashes(word_hashes(found), 13).tolist() == expected


def meter() -> Meter:
    return Meter(SpaceTokenizer(), frozenset({"NearDuplicates"}), Questions.of([]), None, 17)


@pytest.mark.parametrize("column", ["whole", "question"])
def test_other_tools_make_another_row_and_another_question(column: str) -> None:
    plain = row(1, "Weather?", "Sunny")
    tools = tuple({"type": "function", "function": {"name": name}} for name in ("weather", "stars"))
    rows = [plain, plain, *(Row(1, plain.messages, {}, (tool,)) for tool in tools)]

    first, again, *others = meter().measure(rows).rows[column]

    assert first == again
    assert len({first, *others}) == 3


def test_near_copies_are_found_without_spaces_between_words() -> None:
    text = "数据检查在训练之前阅读每一行文字并说明发现了什么但从不引用任何一行的内容因为那可能是个人的秘密"
    rows = [
        row(1, text),
        row(2, text.replace("秘密", "信息")),
        row(3, "这是另外一个完全不同的问题没有共同的内容可以比较"),
    ]

    assert list(repeats(meter().measure(rows).rows["signature"])) == [False, True, False]
