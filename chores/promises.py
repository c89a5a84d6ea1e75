"""Compare docs/promises.md with the pages: each sentence with an absolute word names the tests that show that it is true.

    python -m chores.promises [--list]

Fails and names each promise without a row, each row whose sentence is gone, and each named test that does not exist.
With ``--list`` it prints the promises instead, a line for each. It finds words, not meaning: whether a test shows what the sentence says is for people
to judge when they write the row.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chores import generated

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path("docs/promises.md")
LEFT_OUT = (TABLE, Path("docs/style.md"), Path("docs/threat-model-tests.md"))
"""The table itself, the page whose sentences are examples of style, and the page that is generated from the tests."""
ABSOLUTE = re.compile(r"\b(never|always|at once|nobody (can|may|else))\b", re.IGNORECASE)

_BEGIN, _END = re.escape(generated.BEGIN).replace(r"\{command\}", ".*?"), re.escape(generated.END)
_CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(f"{_BEGIN}.*?{_END}", re.DOTALL)
_NEW_BLOCK = re.compile(r"^\s*([-*#|>]|\d+\.\s)")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.?!])[*)\"]*\s+(?=[*(`\[\"]*[A-Z])")
_PAGE = re.compile(r"^## (.+)$")
_ROW = re.compile(r"^\| (?P<words>.+?) \| (?P<tests>`.+`) \|$")
_TEST = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Promise:
    """A sentence of a page with an absolute word; ``page`` is relative to the root of the repository."""

    page: Path
    sentence: str


@dataclass(frozen=True)
class Row:
    """A row of the table. ``words`` are part of the sentence, ``tests`` are written ``file::function``."""

    page: Path
    words: str
    tests: tuple[str, ...]


def pages(root: Path) -> list[Path]:
    """Return the pages that people read and write: README and docs, without decisions and without `LEFT_OUT`."""
    found = [Path("README.md"), *(page.relative_to(root) for page in sorted((root / "docs").glob("*.md")))]
    return [page for page in found if page not in LEFT_OUT]


def sentences(page: str) -> Iterator[str]:
    """Yield the sentences of a Markdown page, each on one line. Code blocks and generated parts are left out; a cell of a table is a text of its own."""
    text = _CODE.sub("\n", _GENERATED.sub("\n", page))
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if not line.strip() or _NEW_BLOCK.match(line):
            yield from _split(" ".join(block))
            block = []
        if line.lstrip().startswith("|"):
            for cell in line.strip().strip("|").split("|"):
                yield from _split(cell)
        else:
            block.append(line.strip())


def _split(text: str) -> Iterator[str]:
    yield from (part for part in _BETWEEN_SENTENCES.split(text.strip()) if part)


def promises(root: Path) -> list[Promise]:
    """Return the sentences that have an absolute word, in the order of the pages."""
    return [
        Promise(page, sentence)
        for page in pages(root)
        for sentence in sentences((root / page).read_text())
        if ABSOLUTE.search(sentence)
    ]


def rows(table: str) -> list[Row]:
    """Return the rows of the table, by the headings that name the pages."""
    found, page = [], TABLE
    for line in table.splitlines():
        if heading := _PAGE.match(line):
            page = Path("README.md") if heading[1] == "README.md" else Path("docs", heading[1])
        elif row := _ROW.match(line):
            found.append(Row(page, row["words"], tuple(_TEST.findall(row["tests"]))))
    return found


def problems(root: Path) -> list[str]:
    """Return what is wrong, a sentence for each; empty if every promise has a row, every row a promise and every named test exists."""
    promised, listed = promises(root), rows((root / TABLE).read_text())
    wrong = [
        f"{promise.page}: {TABLE} has no row for {promise.sentence!r}: name a test that shows it, or write what is true"
        for promise in promised
        if not any(_belongs(row, promise) for row in listed)
    ]
    for row in listed:
        matches = sum(_belongs(row, promise) for promise in promised)
        if matches != 1:
            wrong.append(
                f"{TABLE}: {row.words!r} must be in exactly one sentence of {row.page} that has an absolute word; it is in {matches}"
            )
        wrong.extend(f"{TABLE}: there is no test {test}" for test in row.tests if not exists(root, test))
    return wrong


def _belongs(row: Row, promise: Promise) -> bool:
    return row.page == promise.page and row.words in promise.sentence


def exists(root: Path, test: str) -> bool:
    """Return whether ``file::function`` is a test of the repository. Files are parsed, not imported: some need torch or vLLM."""
    file, _, name = test.partition("::")
    path = root / file
    if not (name.startswith("test_") and path.name.startswith("test_") and path.is_file()):
        return False
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        for node in ast.walk(ast.parse(path.read_text()))
    )


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Check the table and return the exit status; with `--list` print the promises."""
    parser = argparse.ArgumentParser(description="Check that each promise of the pages names its tests.")
    parser.add_argument("--list", action="store_true", help="print the promises and check nothing")
    if parser.parse_args(arguments).list:
        print(*(f"{promise.page}: {promise.sentence}" for promise in promises(root)), sep="\n")
        return 0
    wrong = problems(root)
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
