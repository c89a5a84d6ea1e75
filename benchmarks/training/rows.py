"""Conversations whose answers take a chosen share of the words: licence texts, cut in two."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

LENGTHS = range(40, 90)
"""Words of a row. Rows differ, so that batches are padded as real ones are."""
STRIDE = 17
"""How far apart in ``LENGTHS`` two neighboring rows are: short and long ones alternate, and all lengths appear."""


def write_rows(texts: Path, target: Path, share: float, count: int) -> None:
    """Write ``count`` conversations whose answers have ``share`` (0 to 1) of the words.

    ``texts`` holds conversations, one JSON object a line, whose user turns give the words.
    """
    words = itertools.cycle(_words(texts))
    with target.open("w") as file:
        for number in range(count):
            row = list(itertools.islice(words, LENGTHS[number * STRIDE % len(LENGTHS)]))
            end = round((1 - share) * len(row))
            turns = [{"role": "user", "content": " ".join(row[:end])}]
            turns += [{"role": "assistant", "content": " ".join(row[end:])}]
            file.write(json.dumps({"messages": turns}) + "\n")


def _words(texts: Path) -> list[str]:
    rows = [json.loads(line)["messages"] for line in texts.read_text().splitlines()]
    return [word for turns in rows for turn in turns if turn["role"] == "user" for word in turn["content"].split()]
