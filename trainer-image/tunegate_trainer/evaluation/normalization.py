"""When two answers count as the same: texts and labels by ``tunegate.api.normalization``, and JSON by its value.

JSON (where the task has a schema): both sides are parsed and compared as values, with every string value inside normalized
like text, names of fields as they are; an answer that is not JSON as a whole, for example because of a sentence around it,
equals nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunegate.api.evaluationsuite import SuiteTask
from tunegate.api.normalization import normalize_label, normalize_text
from tunegate_trainer.data.strict_json import NotJson, parse_json


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


def same_for(task: SuiteTask) -> Callable[[str, str], bool]:
    """Return what tells whether an answer equals the expected one, by the rule for the task."""
    return same_json if task.json_schema else same_label if task.labels else same_text
