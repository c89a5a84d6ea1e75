"""`data push`: check, send what is not there yet, complete."""

from __future__ import annotations

import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from pydantic import ValidationError

from tunegate.api.numbers import size
from tunegate.api.pushed import MAX_PARTS, NAME, PART_BYTES, Declaration, Part, Push, PushedFile, PushedKind
from tunegate.cli import screen
from tunegate.cli.cluster import Json
from tunegate.cli.exchange import Address, Exchange, address, path
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.pushed.files import LocalFile, check_rows, chosen
from tunegate.cli.pushed.listing import namespace_of
from tunegate.digests import sha256
from tunegate.errors import wrong_fields

SECONDS_BETWEEN = 1.0
"""Lines of progress on a terminal; elsewhere a line for each tenth."""


def push(kind: PushedKind, options: Namespace) -> int:
    """Push files and print their address. Raises ``CommandFailure``."""
    found = chosen(kind, options.files)
    name = options.name or _default_name(found[0].path if len(found) == 1 else Path(options.files[0]).resolve().name)
    try:
        NAME.validate_python(name)
    except ValidationError:
        raise WrongUsage(
            f"--name {name}: at most 40 lower-case letters, digits and hyphens, none at its ends but letters and digits"
        ) from None
    declaration = _declaration(options)
    if kind == "datasets" and not options.unchecked:
        rows, form = check_rows(found)
        print(f"{rows} rows of form {form}", file=sys.stderr)
    recorded = send(kind, found, name, namespace_of(options), declaration, address(options))
    _print(kind, recorded, options.output)
    return 0


def send(
    kind: PushedKind,
    found: Sequence[LocalFile],
    name: str,
    namespace: str,
    declaration: Declaration | None,
    to: Address,
) -> Json:
    """Send files and return what is recorded of the push. Raises ``CommandFailure``."""
    where, total = path(namespace, kind, name), sum(one.file.stat().st_size for one in found)
    if sum(-(-one.file.stat().st_size // PART_BYTES) for one in found) > MAX_PARTS:
        raise WrongUsage(
            f"{size(total)} in {len(found)} files are more than one push holds: {MAX_PARTS} parts of {size(PART_BYTES)}"
        )
    with closing(Exchange(to)) as exchange:
        progress = Progress(total)
        try:
            files = [PushedFile(path=one.path, parts=_send(exchange, where, one, progress)) for one in found]
            recorded = exchange.complete(where, Push(declaration=declaration, files=files))
        except KeyboardInterrupt:
            progress.end()
            print("stopped; what was sent is kept: run the same command again to go on", file=sys.stderr)
            raise
        except CommandFailure:
            progress.end()
            raise
    progress.end()
    return recorded


class Progress:
    """How much was sent, on standard error."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._there = 0
        self._shown = 0.0
        self._terminal = sys.stderr.isatty()

    def add(self, count: int, *, sent: bool) -> None:
        """Count bytes that are stored now; ``sent``: by this run."""
        tenth = 10 * self._done // max(1, self._total)
        self._done += count
        self._there += 0 if sent else count
        now = time.monotonic()
        line = f"{size(self._done)} of {size(self._total)}" + (
            f", {size(self._there)} were there already" if self._there else ""
        )
        if self._terminal and now - self._shown >= SECONDS_BETWEEN:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            self._shown = now
        elif not self._terminal and 10 * self._done // max(1, self._total) > tenth:
            print(line, file=sys.stderr)

    def end(self) -> None:
        """Leave the line of a terminal."""
        if self._terminal and self._shown:
            print(file=sys.stderr)


def _send(exchange: Exchange, where: str, one: LocalFile, progress: Progress) -> list[Part]:
    """Store the parts of a file that are not there yet; return all. What is described is what was read, once."""
    parts = []
    for content in _pieces(one.file):
        digest = sha256(content)
        there = exchange.has_part(where, digest)
        if not there:
            exchange.store_part(where, digest, content)
        progress.add(len(content), sent=not there)
        parts.append(Part(digest=digest, size=len(content)))
    return parts


def _pieces(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            while piece := stream.read(PART_BYTES):
                yield piece
    except OSError as error:
        raise CommandFailure(f"{file}: cannot be read ({error.strerror})") from error


def _declaration(options: Namespace) -> Declaration:
    said = {name: getattr(options, name) for name in ("classification", "license", "source", "steward")}
    try:
        return Declaration.model_validate({**said, "expirationDate": options.expires})
    except ValidationError as error:
        raise WrongUsage(
            f"{wrong_fields(error)}. Each is one line that is not empty; --expires is a day as YYYY-MM-DD"
        ) from None


def _default_name(path: str) -> str:
    """Return a name made of a file's."""
    stem = path.rpartition("/")[2].split(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:40].strip("-")


def pasted(kind: PushedKind, recorded: Json) -> Json:
    """Return the part of a job's spec that names what was pushed."""
    if kind == "documents":
        return {"baseline": {"documents": {"uri": recorded["uri"]}}}
    return {"dataset": {"uri": recorded["uri"], **recorded["declaration"]}}


def _print(kind: PushedKind, recorded: Json, output: str) -> None:
    if output == "json":
        screen.write(recorded, "json")
    elif output == "yaml":
        screen.write(pasted(kind, recorded), "yaml")
    else:
        print(recorded["uri"])
        others = _repeated(kind)
        print(f"Paste it into {others} of your job; -o yaml prints the whole part.", file=sys.stderr)


def _repeated(kind: PushedKind) -> str:
    return (
        "spec.baseline.documents.uri"
        if kind == "documents"
        else "spec.dataset.uri, with the same class, license, source and steward,"
    )
