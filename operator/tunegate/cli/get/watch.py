"""`get -w`: the listing, and from then on a line for each object that has changed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import yaml

from tunegate.cli import screen
from tunegate.cli.cluster import Json
from tunegate.cli.failure import Unreachable
from tunegate.cli.get.columns import LESS_IMPORTANT, cells, titles

POLL_SECONDS = 2.0
DELETED = "deleted"
PASSES_BY_ITSELF = ("age",)
"""What differs at every look and is no change."""
Key = tuple[str, str]


class Watch:
    """What was seen of each object, and what has to be said now."""

    def __init__(self) -> None:
        self._seen: dict[Key, Json] = {}

    def changed(self, lines: Sequence[Json]) -> list[Json]:
        """Return the lines that are new or not as they were, and one for each object that is gone."""
        now = {(line["namespace"], line["name"]): line for line in lines}
        gone = [
            {**dict.fromkeys(line), **_named(line), "phase": DELETED}
            for key, line in self._seen.items()
            if key not in now
        ]
        news = [line for key, line in now.items() if _lasting(self._seen.get(key, {})) != _lasting(line)]
        self._seen = now
        return [*news, *gone]


def watch(look: Callable[[], list[Json]], columns: Sequence[str], output: str, word: str) -> NoReturn:
    """Print all lines, then those that change, until the person ends it. ``word``: how the kind begins a reference."""
    seen = Watch()
    first = look()
    say = _printer(columns, output, word, seen.changed(first))
    while True:
        time.sleep(POLL_SECONDS)
        try:
            say(seen.changed(look()))
        except Unreachable as error:
            print(screen.shown(f"{error}; still watching"), file=sys.stderr, flush=True)


def _printer(columns: Sequence[str], output: str, word: str, first: list[Json]) -> Callable[[list[Json]], None]:
    """Print the first lines and return what prints further ones in the same way."""
    if output in ("text", "wide"):
        table = screen.Lines(
            screen.console(), titles(columns), [cells(line, columns) for line in first], less_important=titles(LESS_IMPORTANT)
        )  # fmt: skip
        sys.stdout.flush()

        def add(lines: list[Json]) -> None:
            table.add([cells(line, columns) for line in lines])
            sys.stdout.flush()

        return add

    def say(lines: list[Json]) -> None:
        for line in lines:
            if output == "name":
                text = f"{word}{line['name']}"
            elif output == "json":
                text = json.dumps(line, ensure_ascii=False)
            else:
                text = f"---\n{yaml.safe_dump(line, sort_keys=False, allow_unicode=True).rstrip()}"
            print(text, flush=True)

    say(first)
    return say


def _named(line: Mapping[str, object]) -> Json:
    return {key: line[key] for key in ("namespace", "name")}


def _lasting(line: Mapping[str, object]) -> Json:
    return {key: value for key, value in line.items() if key not in PASSES_BY_ITSELF}
