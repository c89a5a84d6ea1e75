"""Small checks of a row's own text: invisible characters, answers that only copy, answers that only refuse."""

from __future__ import annotations

import re

from tunegate_trainer.checks.words import normal
from tunegate_trainer.data.rows import Row

_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_IDEOGRAPHS = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNJOINED = "\\x00-~\u00a0-\u00a8\u00aa-\u00ad\u00af-\u05ff\u10a0-\u11ff\u1d00-\u1fff\u2c60-\u2c7f\u3040-\u30ff\u3400-\u9fff\ua720-\ua7ff\uac00-\ud7af"
"""Signs, and letters that nothing joins: Latin, Greek, Cyrillic, Armenian, Hebrew, Georgian, Korean, Japanese, Chinese."""
_POINTS = "\u0300-\u036f\u0591-\u05c7"
INVISIBLE = re.compile(
    # Soft hyphen, Arabic letter mark, Hangul fillers, inherent vowels of Khmer, Mongolian vowel separator, zero-width space,
    # bidirectional controls, word joiners and invisible operators, byte order marks, controls of shorthand and of music,
    # tag characters.
    "[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
    # Joiners belong into emoji and into scripts whose letters join (Arabic, those of India, ...): not after a sign or letter
    # of others, nor twice. The grapheme joiner belongs between two marks.
    f"|[\u200c\u200d]{{2}}|(?:\\A|(?<=[{_UNJOINED}]))[\u200c\u200d]|(?<![{_POINTS}])\u034f|\u034f(?![{_POINTS}])"
    # Variation selectors choose between two looks of one emoji, symbol or ideograph. Several in a row, or one after a
    # space or a plain letter, carry bytes that nobody sees.
    f"|[{_SELECTORS}]{{2}}|(?:\\A|(?<=[\\sA-Za-z\u00c0-\u052f]))[{_SELECTORS}]"
    f"|(?<![{_IDEOGRAPHS}])[\U000e0100-\U000e01ef]"
)

REFUSAL = re.compile(
    r"(?i)\A\W*(?:(?:i['\u2019]?m|i am) (?:(?:very |really )?sorry|afraid)\b.{0,40}\b(?:can(?:no|['\u2019])t|unable|not able)"
    r"|(?:sorry|unfortunately),? (?:but )?i (?:can(?:no|['\u2019])t|am unable|am not able)"
    r"|i (?:can(?:no|['\u2019])t|am unable to|am not able to) (?:assist|help|answer|provide|comply|fulfill)"
    r"|as an? (?:ai|artificial intelligence|large language|language)\b)"
)
"""What assistants say instead of an answer, at its beginning. English only."""


def has_invisible(row: Row) -> bool:
    """Whether a text holds characters that people don't see and models do."""
    return any(not text.isascii() and INVISIBLE.search(text) for text in row.texts)


def copies_input(row: Row) -> bool:
    """Whether the answer is the question again, apart from case, spaces and what ends the sentence."""
    last = next((turn["content"] for turn in reversed(row.messages[:-1]) if turn["role"] == "user"), "")
    return normal(row.answer) == normal(last) != ""


def refuses(row: Row) -> bool:
    """Whether the answer begins with a refusal."""
    return REFUSAL.search(row.answer) is not None
