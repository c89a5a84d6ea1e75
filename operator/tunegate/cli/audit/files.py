"""Files of an audit: exported records, objects, anchors and public keys, read strictly, and the folder of an export."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TypeVar

from tunegate.api.markers import Resource
from tunegate.cli.failure import CommandFailure
from tunegate.digests import canonical
from tunegate.keys import PublicKey
from tunegate.ledger.anchors.places import Checkpoint, read_folder
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.seal import SEALS
from tunegate.ledger.sequence import ordered
from tunegate.regular_files import open_regular, read_regular
from tunegate.strict_json import strict_json

Json = dict[str, Any]
T = TypeVar("T", bound=Resource)
U = TypeVar("U", bound=Resource)
METADATA = ("name", "namespace", "uid", "creationTimestamp")
"""What an exported object is compared by."""
RECORDS, OBJECTS, CHECKPOINTS, HINT = "records.jsonl", "objects.json", "checkpoints", "public-key-hint.pem"


def records(path: Path) -> Iterator[Json]:
    """Yield exported records: one JSON object a line, in their order, or a Kubernetes List or JSON array, sorted.

    Raises ``CommandFailure`` for what is no JSON or has a name twice.
    """
    try:
        with TextIOWrapper(open_regular(path), encoding="utf-8") as stream:
            first = stream.readline()
            if _is_record(first):
                yield from _lines(path, [first], 1)
                yield from _lines(path, stream, 2)
                return
        yield from ordered(_items(path))  # type: ignore[misc]
    except (OSError, ValueError) as error:
        raise CommandFailure(f"{path}: not an export of audit records: {error}") from error


def _is_record(line: str) -> bool:
    """Tell whether the first line is a whole object of its own, which is no List."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "items" not in document


def _lines(path: Path, lines: Iterable[str], start: int) -> Iterator[Json]:
    for number, line in enumerate(lines, start):
        if not line.strip():
            continue
        try:
            document = strict_json(line)
        except ValueError as error:
            raise CommandFailure(f"{path}, line {number}: not an audit record: {error}") from error
        if not isinstance(document, dict):
            raise CommandFailure(f"{path}, line {number}: not an audit record: it must be one JSON object")
        yield document


def _items(path: Path) -> list[Json]:
    document = strict_json(read_regular(path).decode())
    items = document.get("items", [document]) if isinstance(document, dict) else document
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError("it must be a List, an array, or one object a line")
    return items


def objects(path: Path, first: type[T], second: type[U]) -> tuple[list[T], list[U], set[str] | None]:
    """Return the objects of two kinds from a List, and the names of its namespaces, None where it lists none.

    Raises ``CommandFailure``.
    """
    collecting = gc.isenabled()
    gc.disable()  # Nothing here makes cycles, and looking for some in all that was read takes half the time.
    try:
        items = _items(path)
        ones = [first.model_validate(one) for one in items if one.get("kind") == first.KIND.kind]
        others = [second.model_validate(one) for one in items if one.get("kind") == second.KIND.kind]
        names = {str(one["metadata"]["name"]) for one in items if one.get("kind") == "Namespace"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandFailure(f"{path}: not a List of objects: {type(error).__name__}") from error
    finally:
        if collecting:
            gc.enable()
    for one in (*ones, *others):
        if not all(isinstance(one.metadata.get(key), str) for key in METADATA):
            raise CommandFailure(f"{path}: every {one.KIND.kind} needs {', '.join(METADATA)} in its metadata, as text")
    return ones, others, names or None


def public_keys(paths: Iterable[str]) -> list[PublicKey]:
    """Read public keys in PEM form. Raises ``CommandFailure``."""
    found = []
    for path in paths:
        try:
            found.append(PublicKey.from_pem(read_regular(Path(path))))
        except (OSError, ValueError) as error:
            raise CommandFailure(f"--public-key {path}: {error}") from error
    return found


def anchors(folders: Iterable[str]) -> list[Anchor]:
    """Read the checkpoints of folders. Raises ``CommandFailure``, also for a folder that holds none."""
    found = []
    for folder in folders:
        try:
            here = read_folder(Path(folder), read_regular)
        except (OSError, ValueError) as error:
            raise CommandFailure(f"--anchors {folder}: {error}") from error
        if not here:
            raise CommandFailure(f"--anchors {folder}: holds no file checkpoint-*.json")
        found += here
    return found


def write(folder: Path, found: Iterable[Mapping[str, Any]], others: Iterable[Json], keys: Iterable[PublicKey]) -> int:
    """Write an export into a new folder; return the number of records. Raises ``CommandFailure``."""
    try:
        (folder / CHECKPOINTS).mkdir(parents=True)
        count = 0
        with (folder / RECORDS).open("wb") as stream:
            for obj in found:
                stream.write(canonical(_bare(obj)) + b"\n")
                count += 1
                spec = obj.get("spec", {})
                if spec.get("type") in SEALS:
                    text = str(spec["payload"]["envelope"])
                    (folder / CHECKPOINTS / Checkpoint.of(text).name).write_text(text)
        (folder / OBJECTS).write_bytes(canonical({"kind": "List", "items": list(others)}) + b"\n")
        (folder / HINT).write_text("".join(f"key {key.id}\n{key.pem}" for key in keys))
    except FileExistsError as error:
        raise CommandFailure(f"{folder}: is there already: an export goes into a folder of its own") from error
    except (OSError, ValueError, KeyError) as error:
        raise CommandFailure(f"{folder}: the export failed: {type(error).__name__}: {error}") from error
    return count


def _bare(obj: Mapping[str, Any]) -> Json:
    """Return a record without what the API server adds."""
    metadata = obj.get("metadata", {})
    kept = {name: metadata[name] for name in ("name", "labels") if name in metadata}
    return {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": kept, "spec": obj.get("spec")}
