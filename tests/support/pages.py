"""Sections of the documentation, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def section(page: str, title: str) -> str:
    """Return the text under a heading, up to the next one."""
    return re.split(r"\n##+ ", (DOCS / page).read_text().partition(f"# {title}\n")[2])[0]


def commands(page: str, title: str) -> Iterator[str]:
    """Yield the lines of the section's shell blocks, each with those that it goes on in."""
    for block in re.findall(r"```sh\n(.*?)```", section(page, title), re.DOTALL):
        yield from block.replace("\\\n", "").splitlines()
