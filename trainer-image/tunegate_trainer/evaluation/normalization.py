"""When two answers count as the same: one rule, with a version that goes into the evidence.

Text: Unicode NFC, white space at the ends dropped, runs of white space made one space; case counts. Labels: the same,
then case folded and one full stop at the end dropped. JSON (where the task has a schema): both sides are parsed and
compared as values, with every string value inside normalized like text, names of
fields as they are; an answer that is not JSON as a whole, for example
because of a sentence around it, equals nothing.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from tunegate_trainer.data.strict_json import NotJson, parse_json

NORMALIZATION = "tunegate/1"


def normalize_text(text: str) -> str:
    """Return ``text`` in NFC with white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def normalize_label(text: str) -> str:
    """Return ``text`` as a class label."""
    return normalize_text(text).removesuffix(".").rstrip().casefold()


def normalize_json(value: Any) -> Any:
    """Return ``value`` with all strings in it normalized; booleans stay apart from numbers."""
    if isinstance(value, str):
        return normalize_text(value)
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return [normalize_json(item) for item in value]
    if isinstance(value, dict):
        return {key: normalize_json(item) for key, item in value.items()}
    return value


def same_text(answer: str, expected: str) -> bool:
    """Tell whether two texts are equal by the rule for text."""
    return normalize_text(answer) == normalize_text(expected)


def same_label(answer: str, expected: str) -> bool:
    """Tell whether two texts are equal by the rule for labels."""
    return normalize_label(answer) == normalize_label(expected)


def same_json(answer: str, expected: str) -> bool:
    """Tell whether two texts are equal by the rule for JSON. Raises ``NotJson`` when ``expected`` is not JSON."""
    right = normalize_json(parse_json(expected))
    try:
        return bool(normalize_json(parse_json(answer)) == right)
    except NotJson:
        return False
