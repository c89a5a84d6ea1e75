"""Changes of files: places of a document, bytes, and the file itself. All of them come from one seeded source of chance."""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet
import yaml

FRAGMENTS = [
    b"null", b"NaN", b"-Infinity", b"1e999", b"{}", b"[]", b'""', b"\\ud800", b"\x00", b"\xff", b"\n", b",", b"\xef\xbb\xbf",
    b'"messages":', b'"label": false', b'"tools": ', b'"content": 5', b'"conversations": [{}]', b"[" * 200, b"[" * 100_000,
    b"9" * 5000, b"{% for a in b %}", b"{{ 1 // 0 }}", b"&a [*a]", b"<<: 5\n", b"!!python/object:os.system {}", b"\xe2\x80\xa8",
    b"? [a]: b\n", b"2026-11-31", b"%", b"{{", b"\\", b"(?P<x>", b"(a+)+$", b"$ref",
]  # fmt: skip
"""What readers stumble over."""
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**64), 10**400, 0.5, 1e308, float("nan"), float("inf"), "", "x", "\0", "\ud800",
    "²", "\uff12", "-", "a" * 100_000, "../../etc/passwd", "sha256:" + "0" * 64, "pvc://", "1e-3", "1e999", "nan", [], {}, [None], [[]],
    {"": ""}, {"a": {"b": [1]}}, {"$ref": "#"}, "\u2028", "name\nwith\nlines", "2026-11-24T12:00:00Z", "9999-12-31T23:59:59+99:99",
]  # fmt: skip
"""What may stand where another value is expected."""
Change = Callable[[Random, bytes], bytes]


def mutated(random: Random, name: str, content: bytes) -> bytes:
    """Return the content of a file with a few changes. Structure is kept where the name tells it, about half of the time."""
    change = _by_structure(name)
    if change is None or random.random() < 0.4:
        return _bytes(random, content)
    try:
        return change(random, content)
    except (ValueError, OverflowError, TypeError, RecursionError, pyarrow.ArrowException, yaml.YAMLError):
        return _bytes(random, content)  # a value that this format cannot hold


def damage(random: Random, folder: Path, name: str) -> str:
    """Do something to a file itself, and return what."""
    path = folder / name
    content = path.read_bytes()
    match random.choice(
        ("removed", "emptied", "cut", "folder", "link to nowhere", "link to itself", "link", "pipe", "beside")
    ):
        case "removed":
            path.unlink()
            return "removed"
        case "emptied":
            path.write_bytes(b"")
            return "emptied"
        case "cut":
            path.write_bytes(content[: random.randrange(len(content) + 1)])
            return "cut"
        case "folder":
            path.unlink()
            path.mkdir()
            return "a folder in its place"
        case "link to nowhere":
            path.unlink()
            path.symlink_to("nowhere")
            return "a link to nowhere"
        case "link to itself":
            path.unlink()
            path.symlink_to(path.name)
            return "a link to itself"
        case "link":
            (folder / ".kept").write_bytes(content)
            path.unlink()
            path.symlink_to(folder / ".kept")
            return "a link"
        case "pipe":
            path.unlink()
            os.mkfifo(path)
            return "a pipe"
        case _:
            beside = [
                b"odd\xff" + path.suffix.encode(),
                b"a\nb.json",
                b"x" * 240 + b".txt",
                b"second" + path.suffix.encode(),
            ]
            Path(os.fsdecode(os.fsencode(path.parent) + b"/" + random.choice(beside))).write_bytes(content)
            return "another file beside it"


def _by_structure(name: str) -> Change | None:
    ends: Mapping[str, Change] = {
        ".jsonl": _json_lines, ".jsonl.gz": _gzip, ".jsonl.zst": _zstd, ".parquet": _parquet, ".json": _json,
        ".safetensors": _safetensors, ".yaml": _yaml, ".bin": _json,
    }  # fmt: skip
    return next((change for end, change in ends.items() if name.endswith(end)), None)


def _bytes(random: Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice([0, 1, 1, 2, 8, 40, 4000]))
        data[start:end] = random.choice([
            random.choice(FRAGMENTS), random.randbytes(random.randint(1, 4)), bytes(data[start:end]) * 2, b"",
            bytes(data[random.randint(0, len(data)) :][: random.choice([1, 20, 200])]),
        ])  # fmt: skip
    return bytes(data)


def _json(random: Random, content: bytes) -> bytes:
    text = json.dumps(changed(random, json.loads(content)), ensure_ascii=random.random() < 0.9)
    if random.random() < 0.05:
        text = text.replace("{", '{"twice": 1, "twice": 2, ', 1)
    return text.encode("utf-8", "surrogatepass")


def _json_lines(random: Random, content: bytes) -> bytes:
    lines = content.splitlines()
    for _ in range(random.randint(1, 2)):
        at = random.randrange(len(lines))
        if random.random() < 0.15:
            lines.insert(random.randrange(len(lines) + 1), lines.pop(at))
        else:
            lines[at] = _json(random, lines[at])
    return b"\n".join(lines) + b"\n" * random.choice([0, 1, 1, 1, 2])


def _gzip(random: Random, content: bytes) -> bytes:
    return gzip.compress(_json_lines(random, gzip.decompress(content)), mtime=0)


def zstd(content: bytes) -> bytes:
    """Return the content, compressed."""
    return bytes(pyarrow.compress(content, codec="zstd", asbytes=True))


def _zstd(random: Random, content: bytes) -> bytes:
    with pyarrow.input_stream(io.BytesIO(content), compression="zstd") as stream:
        return zstd(_json_lines(random, stream.read()))


def parquet(table: pyarrow.Table) -> bytes:
    """Return a table as a file."""
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression="none")
    return sink.getvalue()


def _parquet(random: Random, content: bytes) -> bytes:
    """Put another column in the place of one, of a type that JSON has or has not."""
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    rows, at = table.num_rows, random.randrange(table.num_columns)
    column = random.choice(_columns(random, rows))
    name = random.choice([table.column_names[at], "messages", "label", "tools", ""])
    if random.random() < 0.7:
        return parquet(table.set_column(at, name, column))
    return parquet(table.append_column(name, column))


def _columns(random: Random, rows: int) -> list[pyarrow.Array]:
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}]
    return [
        pyarrow.nulls(rows), pyarrow.array([turns] * rows), pyarrow.array([b"\xff"] * rows),
        pyarrow.array([b"\xff"] * rows).view(pyarrow.string()), pyarrow.array([2**62] * rows, pyarrow.timestamp("s")),
        pyarrow.array([2**31 - 1] * rows, pyarrow.date32()), pyarrow.array([float("nan")] * rows),
        pyarrow.array([[("a", 1), ("a", 2)]] * rows, pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        pyarrow.array(["Ada"] * rows, pyarrow.large_string()), pyarrow.array(["Ada"] * rows).dictionary_encode(),
        pyarrow.array([2**60] * rows, pyarrow.duration("ns")), pyarrow.array([random.random() < 0.5 for _ in range(rows)]),
        pyarrow.array([[[[[1]]]]] * rows), pyarrow.array(["a" * 10_000] * rows), pyarrow.array([b"0123"] * rows, pyarrow.binary(4)),
    ]  # fmt: skip


def _safetensors(random: Random, content: bytes) -> bytes:
    """Change what the header says, or how long it says that it is."""
    (length,) = struct.unpack("<Q", content[:8])
    header = _json(random, content[8 : 8 + length])
    said = random.choice([len(header)] * 6 + [0, 2, 2**63, len(header) + 1, 99_999_999])
    return struct.pack("<Q", said) + header + content[8 + length :]


def _yaml(random: Random, content: bytes) -> bytes:
    documents = list(yaml.safe_load_all(content))
    at = random.randrange(len(documents))
    documents[at] = changed(random, documents[at])
    return yaml.safe_dump_all(documents, allow_unicode=True).encode("utf-8", "surrogatepass")


def changed(random: Random, document: Any) -> Any:
    """Return a copy of a document with one to three places changed, as a mistake, a tool or an attacker would."""
    document = copy.deepcopy(document)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        places = list(_places(document))
        document = _change(random, document, random.choice(places)) if places else random.choice(VALUES)
    return document


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    if len(path) < 30:
        for key, inner in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            yield from _places(inner, (*path, key))


def _change(random: Random, document: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return _other(random, document)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    key = path[-1]
    how = random.random()
    if how < 0.2:
        del holder[key]
    elif how < 0.3 and isinstance(holder, dict):
        holder[random.choice(["", "x", "\0", str(key).upper(), f"{key} "])] = holder.pop(key)
    elif how < 0.4 and isinstance(holder, list):
        holder += copy.deepcopy([holder[key]]) * random.choice([1, 2, 50])
    else:
        holder[key] = _other(random, holder[key])
    return document


def _other(random: Random, value: Any) -> Any:
    if isinstance(value, str) and value and random.random() < 0.5:
        return _bytes(random, value.encode("utf-8", "surrogatepass")).decode(errors="ignore")
    if isinstance(value, int | float) and not isinstance(value, bool) and random.random() < 0.4:
        return random.choice([-value, value + 1, value * 10, str(value), float(value), bool(value)])
    if random.random() < 0.1:
        return [value]
    if random.random() < 0.03:
        for _ in range(random.choice([50, 150, 800])):
            value = [value] if random.random() < 0.5 else {"a": value}
        return value
    return copy.deepcopy(random.choice(VALUES))
