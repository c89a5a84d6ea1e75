"""Files on their way into the registry: part by part, each once, then what completes the push."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tunegate.api.numbers import size
from tunegate.api.pushed import MAX_PARTS, PART_BYTES, Declaration, Part, Push, PushedFile, PushedKind
from tunegate.cli.cluster import Json
from tunegate.cli.exchange import Address, Exchange, path
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.local_files import LocalFile
from tunegate.digests import sha256

SECONDS_BETWEEN = 1.0
"""Lines of progress on a terminal; elsewhere a line for each tenth."""


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
