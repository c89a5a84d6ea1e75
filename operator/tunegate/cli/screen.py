"""What people see on their terminal, and what programs get instead.

Names, reasons and intended uses are other people's words. They are never taken as markup, and what a terminal would act
on instead of showing it (escape sequences, text that runs backwards) is spelled out: nobody may hide a line from a reviewer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

FORMATS = ("text", "json", "yaml")
PIPE_WIDTH = 4000
"""Lines of a pipe or a file are never broken, so that they can be searched."""
GOOD = frozenset({"Serving", "Approved", "Succeeded", "Ready", "Open", "Pass", "OK", "True", "counted", "right"})
BAD = frozenset({"Denied", "Revoked", "Failed", "Tampered", "LeftOut", "Closed", "Fail", "FAIL", "wrong"})
OPEN = frozenset(
    {"PendingApproval", "PendingWaiver", "Overridden", "Degraded", "Inconclusive", "WARN", "not seen", "not served"}
)
Row = Sequence[str]
GAP = 2
"""Spaces between columns."""
SHORT = 20
"""Cells with spaces of at most this length are not wrapped: phases, units, names of people."""
LONGEST_WORD = 44
"""Characters of a name, with room for its kind; what is longer, such as a digest, may be broken."""
LEAST_LAST = 16
"""Characters of the last column of a listing: with less it says nothing."""
PAGE_WIDTH = 120
"""Lines of a page that is read, not searched, are wrapped even there."""


def console(*, stderr: bool = False, pipe_width: int = PIPE_WIDTH) -> Console:
    """Return a console: colors on a terminal only, and none where `NO_COLOR` is set."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else pipe_width
    return Console(highlight=False, markup=False, emoji=False, stderr=stderr, width=width)


def shown(text: object) -> str:
    """Return other people's words as a terminal may show them."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(text))


def styled(text: object) -> Text:
    """Return the text, in color where it is one of the words that say how things stand."""
    word = shown(" ".join(str(text).split("\n")))
    style = "green" if word in GOOD else "red" if word in BAD else "yellow" if word in OPEN else ""
    return Text(word, style=style)


def heading(out: Console, title: str, rest: str = "") -> None:
    """Print a heading, and what stands beside it."""
    out.print(Text.assemble((shown(title), "bold"), " " if rest else "", styled(rest)))


def table(out: Console, headers: Row, rows: Sequence[Row], *, indent: int = 0) -> None:
    """Print rows below their headers, without lines. Where there is too little room, sentences are wrapped, and words never."""
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0), show_header=any(headers))
    for number, header in enumerate(headers):
        cells = [header, *(str(row[number]) for row in rows)]
        longest = max(map(len, cells)) + (indent if number == 0 else 0)
        wraps = longest > LONGEST_WORD or any(len(cell) > SHORT and " " in cell for cell in cells)
        title = (" " * indent if number == 0 else "") + header
        grid.add_column(title, overflow="fold", no_wrap=not wraps, min_width=None if wraps else longest)
    for row in rows:
        first, *rest = (styled(cell) for cell in row)
        grid.add_row(Text.assemble(" " * indent, first), *rest)
    if out.is_terminal:
        out.print(grid)
        return
    with out.capture() as held:
        out.print(grid)
    out.file.write("".join(f"{line.rstrip()}\n" for line in held.get().splitlines()))


def listing(out: Console, headers: Row, rows: Sequence[Row], *, less_important: Row = ()) -> None:
    """Print a table of one line for each row. A terminal that is too narrow gets fewer columns and the last one cut.

    ``less_important``: headers of columns that may be left out, the first of them first.
    """
    if not out.is_terminal:
        table(out, headers, rows)
        return
    kept, room = fitting(out.width, headers, rows, less_important)
    *first, last = kept
    lines = [[*(row[number] for number in first), _cut(row[last], room)] for row in rows]
    table(out, [headers[number] for number in kept], lines)


def fitting(width: int, headers: Row, rows: Sequence[Row], less_important: Row) -> tuple[list[int], int]:
    """Return which columns fit into so many characters, and how many of them the last one has."""
    widths = [max(len(cell) for cell in column) + GAP for column in zip(headers, *rows, strict=True)]
    kept = list(range(len(headers)))
    for header in less_important:
        *fixed, last = (widths[number] for number in kept)
        if sum(fixed) + min(last, LEAST_LAST + GAP) <= width + GAP:
            break
        kept = [number for number in kept if headers[number] != header]
    return kept, max(width - sum(widths[number] for number in kept[:-1]), LEAST_LAST)


class Lines:
    """A listing that goes on: columns and their widths stay as the first rows asked for, so that lines stand below each other."""

    def __init__(self, out: Console, headers: Row, rows: Sequence[Row], *, less_important: Row = ()) -> None:
        """Print headers and the first rows."""
        self._out = out
        everything = list(range(len(headers))), 0
        self._kept, self._room = fitting(out.width, headers, rows, less_important) if out.is_terminal else everything
        self._widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
        self._print(Text(header, style="bold") for header in headers)
        self.add(rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Print more rows."""
        for row in rows:
            last = self._kept[-1]
            self._print(styled(_cut(cell, self._room) if self._room and number == last else cell)
                        for number, cell in enumerate(row))  # fmt: skip

    def _print(self, cells: Iterable[Text]) -> None:
        known = list(cells)
        line = Text()
        for number in self._kept:
            line.append_text(known[number])
            line.append(" " * (self._widths[number] - len(known[number]) + GAP))
        line.rstrip()
        self._out.print(line, soft_wrap=True)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1].rstrip()}…"


def facts(out: Console, pairs: Sequence[tuple[str, object]], *, indent: int = 2) -> None:
    """Print names and values below each other."""
    table(out, ("", ""), [(name, str(value)) for name, value in pairs], indent=indent)


def write(document: Any, output: str) -> None:
    """Print a document for programs: JSON or YAML, with equal content."""
    if output == "json":
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), end="")
