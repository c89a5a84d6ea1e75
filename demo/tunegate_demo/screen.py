"""What the person sees: numbered steps with their expected and real time, facts, tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tunegate_local.timings import Part, busy_seconds


@dataclass
class Screen:
    """Prints steps and keeps what each took, for the report. Their CPU seconds are the machine's, since pods do the work."""

    total: int
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    parts: list[Part] = field(default_factory=list)
    current: str = "start"

    @contextmanager
    def step(self, name: str, expected: str) -> Iterator[None]:
        """Print a header with the expected time, run the body, print the real time."""
        self.current = name
        self.console.print(f"\n[bold cyan]{len(self.parts) + 1}/{self.total} {name}[/] [dim](about {expected})[/]")
        started, busy = time.monotonic(), busy_seconds()
        yield
        took = time.monotonic() - started
        self.parts.append(Part(name, round(took, 1), round(busy_seconds() - busy, 1)))
        self.console.print(f"  [green]done[/] in {took:.0f} s")

    def say(self, text: str) -> None:
        """Print one fact."""
        self.console.print(f"  {text}", markup=False)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table; the first column is text, the others are right-aligned."""
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)
