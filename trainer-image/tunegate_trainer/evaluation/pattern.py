"""The regular-expression alternative, with a pattern that somebody else wrote.

Python's matcher backtracks: a pattern may run for years. So only what RE2 knows is accepted, and the matching happens
in a process of its own that is ended when its time is over.
"""

from __future__ import annotations

import json as json_module
import subprocess
import sys
from collections.abc import Sequence

from tunegate.api.suite_checks import pattern_problem
from tunegate_trainer.endings import BadInput

SECONDS = 30.0
"""Time for all questions together."""
_CHILD = (
    "import json, re, sys\n"
    "asked = json.load(sys.stdin)\n"
    "found = [re.search(asked['pattern'], text) for text in asked['texts']]\n"
    "json.dump([match and match.groupdict() for match in found], sys.stdout)\n"
)


def check_pattern(pattern: str, template: str) -> None:
    """Raises ``BadInput`` unless the pattern is one that RE2 knows too and the template uses its named groups only."""
    if (problem := pattern_problem(pattern, template)) is not None:
        raise BadInput(problem)


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
