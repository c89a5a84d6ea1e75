"""What somebody who owns the folder would do to it: alter something, then make the index fit again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tunegate.digests import canonical
from tunegate.evidence import index, layout
from tunegate.evidence.index import Index, pretty

Folder = dict[str, bytes]
JSON_LINES = (layout.APPROVALS, layout.LEDGER)


def flip_a_byte(files: Folder, chance: random.Random) -> set[str]:
    path = chance.choice(sorted(files))
    content = bytearray(files[path])
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    files[path] = bytes(content)
    return {path}


def drop_a_file(files: Folder, chance: random.Random) -> set[str]:
    path = chance.choice(sorted(files))
    del files[path]
    return {path}


def add_a_file(files: Folder, chance: random.Random) -> set[str]:
    path = f"{chance.choice(['', 'oci/', 'results/', 'more/'])}{chance.randrange(1000)}.json"
    files[path] = chance.choice([b"", b"{}", files[chance.choice(sorted(files))]])
    return {path}


def swap_two(files: Folder, chance: random.Random) -> set[str]:
    one, other = chance.sample(sorted(files), 2)
    files[one], files[other] = files[other], files[one]
    return {one, other}


def change_a_field(files: Folder, chance: random.Random) -> set[str]:
    """Change, remove or add one value at any depth, and write the document as it was written before."""
    path = chance.choice([path for path in sorted(files) if path.endswith((".json", ".jsonl"))])
    if path in JSON_LINES:
        lines = files[path].splitlines()
        number = chance.randrange(len(lines))
        document = json.loads(lines[number])
        _change(document, chance)
        lines[number] = canonical(document)
        files[path] = b"".join(line + b"\n" for line in lines)
        return {path}
    document = json.loads(files[path])
    written = pretty if files[path] == pretty(document) else canonical
    _change(document, chance)
    files[path] = written(document)
    return {path}


KINDS: tuple[Callable[[Folder, random.Random], set[str]], ...] = (
    flip_a_byte, drop_a_file, add_a_file, swap_two, change_a_field, change_a_field, change_a_field,
)  # fmt: skip


def fit_the_index(files: Folder) -> None:
    """Let the index list what is there now."""
    said = Index.model_validate_json(files[layout.INDEX])
    files[layout.INDEX] = said.model_copy(update={"files": index.entries(files)}).content


def _change(document: Any, chance: random.Random) -> None:
    places = list(_places(document))
    parent, key = chance.choice(places)
    match chance.choice(["change", "change", "remove", "add"]):
        case "remove" if isinstance(parent, dict) or len(parent) > 1:
            del parent[key]
        case "add" if isinstance(parent, dict):
            parent["added"] = chance.choice([None, "", 0, True])
        case _:
            parent[key] = _another(parent[key], chance)


def _places(document: Any) -> Any:
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield document, key
        yield from _places(value)


def _another(value: Any, chance: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return chance.choice([value + 1, -value - 1, str(value)])
        case str():
            return chance.choice([value + "x", value[1:] + "y", "", None]) if value else "x"
        case None:
            return "x"
        case _:
            return None
