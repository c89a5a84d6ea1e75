"""The page docs/threat-model-tests.md: which tests try which attack, written from the marks `@pytest.mark.attack(n)`.

    python -m chores.threat_model_tests [--check]

Writes the page. With ``--check`` it writes nothing and fails if the page is out of date.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from chores import generated

ROOT = Path(__file__).resolve().parents[1]
THREAT_MODEL = ROOT / "docs/threat-model.md"
APPENDIX = ROOT / "docs/threat-model-tests.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| .+ \|$", re.MULTILINE)
HEAD = """# Threat model: the tests of each attack

For security reviewers and auditors. [threat-model.md](threat-model.md#the-attacks) says what stops each attack or shows it; this page names the tests that
try it. It is generated from the marks in the tests: do not edit it, run `make generate`.
"""

Tests = dict[str, list[str]]
"""Names of test functions by file, relative to the repository's root."""


def attacks(page: str) -> dict[int, str]:
    """Return the attacks in the table of the threat model, by number."""
    return {int(number): attack for number, attack in ROW.findall(page)}


def marked_tests() -> dict[int, Tests]:
    """Return the tests that carry the mark `attack`, by number. Files are parsed, not imported: some need torch or vLLM."""
    found: dict[int, Tests] = defaultdict(lambda: defaultdict(list))
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.attack":
                    for number in mark.args:
                        found[int(ast.literal_eval(number))][str(file.relative_to(ROOT))].append(node.name)
    return found


def render(listed: dict[int, str], tried: dict[int, Tests]) -> str:
    """Return the page: one section for each attack, its tests grouped by file."""
    sections = [HEAD]
    for number, attack in listed.items():
        lines = [f"## {number}\n", f"{attack[0].upper()}{attack[1:]}.\n"]
        for file, names in sorted(tried.get(number, {}).items()):
            lines.append(f"- [{file}](../{file})")
            lines.extend(f"  - `{name}`" for name in sorted(names))
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def main(arguments: Sequence[str] | None = None) -> int:
    page = render(attacks(THREAT_MODEL.read_text()), marked_tests())
    return generated.write_or_check(APPENDIX, page, arguments, "Write the list of the tests of each attack.")


if __name__ == "__main__":
    raise SystemExit(main())
