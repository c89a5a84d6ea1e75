"""docs/threat-model.md and the tests say the same: which test tries which attack, and what nothing tries."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/threat-model.md").read_text()
KNOWN = set(range(1, 39))
"""The attacks that were listed before anything was built; others came later."""
ROW = re.compile(r"^\| (\d+) \|.*\| ([^|]*) \|$", re.MULTILINE)
OPEN = re.compile(r"^- \*\*(\d+)[ *]", re.MULTILINE)


def marked() -> dict[int, set[str]]:
    """Return the tests that carry the marker `attack`, by number. Read, not imported: some need what is absent here."""
    found: dict[int, set[str]] = defaultdict(set)
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.attack":
                    for argument in call.args:
                        found[int(ast.literal_eval(argument))].add(node.name)
    return found


def rows() -> dict[int, set[str]]:
    """Return the tests that the page names, by number of the attack."""
    return {int(number): set(re.findall(r"`(test_\w+)`", tests)) for number, tests in ROW.findall(PAGE)}


def test_the_page_names_for_each_attack_exactly_the_tests_that_try_it() -> None:
    assert {number: tests for number, tests in rows().items() if tests} == marked()


def test_every_known_attack_is_tried_or_stands_among_the_open_ones() -> None:
    untried = {number for number, tests in rows().items() if not tests}
    assert KNOWN <= set(rows())
    assert untried <= {int(number) for number in OPEN.findall(PAGE)}
