"""What people see on their terminal, and what programs get instead.

Names, reasons and intended uses are other people's words. They are never taken as markup, and what a terminal would act
on instead of showing it (escape sequences, text that runs backwards) is spelled out: nobody may hide a line from a reviewer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
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
    """Print rows below their headers, without lines: one row, one line."""
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), show_header=any(headers))
    for number, header in enumerate(headers):
        grid.add_column((" " * indent if number == 0 else "") + header, overflow="fold")
    for row in rows:
        first, *rest = (styled(cell) for cell in row)
        grid.add_row(Text.assemble(" " * indent, first), *rest)
    if out.is_terminal:
        out.print(grid)
        return
    with out.capture() as held:
        out.print(grid)
    out.file.write("".join(f"{line.rstrip()}\n" for line in held.get().splitlines()))


def facts(out: Console, pairs: Sequence[tuple[str, object]], *, indent: int = 2) -> None:
    """Print names and values below each other."""
    table(out, ("", ""), [(name, str(value)) for name, value in pairs], indent=indent)


def write(document: Any, output: str) -> None:
    """Print a document for programs: JSON or YAML, with equal content."""
    if output == "json":
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), end="")
