"""The regular-expression alternative, with a pattern that somebody else wrote.

Python's matcher backtracks: a pattern may run for years. So only what RE2 knows is accepted, and the matching happens
in a process of its own that is ended when its time is over.
"""

from __future__ import annotations

import json as json_module
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from string import Formatter
from typing import Any

from tunegate_trainer.endings import BadInput

SECONDS = 30.0
"""Time for all questions together."""
_UNKNOWN_TO_RE2 = {
    "ASSERT": "lookahead or lookbehind",
    "ASSERT_NOT": "lookahead or lookbehind",
    "GROUPREF": "a reference to an earlier group",
    "GROUPREF_EXISTS": "a conditional group",
    "POSSESSIVE_REPEAT": "a possessive repeat",
    "ATOMIC_GROUP": "an atomic group",
}
_CHILD = (
    "import json, re, sys\n"
    "asked = json.load(sys.stdin)\n"
    "found = [re.search(asked['pattern'], text) for text in asked['texts']]\n"
    "json.dump([match and match.groupdict() for match in found], sys.stdout)\n"
)


def check_pattern(pattern: str, template: str) -> None:
    """Raises ``BadInput`` unless the pattern is one that RE2 knows too and the template uses its named groups only."""
    try:
        tree = parser.parse(pattern)
    except re.error as error:
        raise BadInput(f"baselines.regex: {error.msg} at position {error.pos}") from error
    for code in _codes(tree):
        if code in _UNKNOWN_TO_RE2:
            raise BadInput(f"baselines.regex: {_UNKNOWN_TO_RE2[code]} is not allowed (RE2 has none)")
    groups = set(tree.state.groupdict)
    try:
        fields = list(Formatter().parse(template))
    except ValueError as error:
        raise BadInput(f"baselines.regexTemplate: {error}") from error
    for _, field, specification, conversion in fields:
        if field is not None and (field not in groups or specification or conversion):
            raise BadInput(
                "baselines.regexTemplate: only named groups of baselines.regex may stand in braces, "
                f"allowed are {sorted(groups)}"
            )


def answer_by_pattern(pattern: str, template: str, texts: Sequence[str], *, json: bool) -> list[str]:
    """Return the filled template for each text, or an empty answer where nothing matches.

    White space inside a group becomes one space; with ``json`` groups are escaped as parts of JSON strings.
    Raises ``BadInput`` for a pattern that is not allowed or takes longer than ``SECONDS``.
    """
    check_pattern(pattern, template)
    asked = json_module.dumps({"pattern": pattern, "texts": list(texts)})
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD],
            input=asked, capture_output=True, text=True, timeout=SECONDS, check=True, encoding="utf-8",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"baselines.regex: matching {len(texts)} questions takes longer than {SECONDS:.0f} s") from error
    matches: list[dict[str, str | None] | None] = json_module.loads(child.stdout)
    return ["" if groups is None else _fill(template, groups, json) for groups in matches]


def _fill(template: str, groups: dict[str, str | None], json: bool) -> str:
    values = {name: " ".join((value or "").split()) for name, value in groups.items()}
    if json:
        values = {name: json_module.dumps(value, ensure_ascii=False)[1:-1] for name, value in values.items()}
    return template.format(**values)


def _codes(node: Any) -> Iterable[str]:
    """Yield the names of all operations in a parsed pattern."""
    if isinstance(node, parser.SubPattern | tuple | list):
        for part in node:
            yield from _codes(part)
    elif isinstance(node, codes._NamedIntConstant):
        yield str(node)
