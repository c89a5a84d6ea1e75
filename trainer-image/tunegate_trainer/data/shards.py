"""The files of a data set, read as one stream of records: a file or a folder of shards, plain, compressed or Parquet.

Nothing is held: memory does not grow with the size of the data. A record that cannot be read is one broken row; a file
that cannot be read to its end is refused, since what is missing cannot be counted.
"""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from tunegate import digests
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.stage.configs import DatasetInput, SuiteInput
from tunegate_trainer.data.parquet import DamagedParquet, parquet_rows
from tunegate_trainer.data.strict_json import NotJson, parse_json
from tunegate_trainer.endings import BadInput
from tunegate_trainer.folders import files_below
from tunegate_trainer.inputs import is_document
from tunegate_trainer.taking import take

MAX_LINE = 4 * 1024 * 1024
"""Bytes of one row, be it a line or a row of Parquet; a longer one is not a training row but a mistake."""
COMPRESSIONS: dict[str, str | None] = {".jsonl": None, ".jsonl.gz": "gzip", ".jsonl.zst": "zstd"}
"""Name's end to the compression."""
PARQUET = ".parquet"
ACCEPTED = (*COMPRESSIONS, PARQUET)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Record:
    """One JSON object or Parquet row. ``number`` counts from 1 through all shards; ``problem`` says why there is no value."""

    number: int
    value: Mapping[str, Any] | None
    problem: str | None = None


Parsed = tuple[Mapping[str, Any] | None, str | None]
"""A value, or what is wrong."""


@dataclass
class Shards:
    """The files in the order in which they are read, and how many records each had."""

    what: str
    """What a message calls it: `data set`, `suite <name>`."""
    root: Path
    files: tuple[Path, ...]
    counts: list[int] = field(default_factory=list)
    """Records of the files read so far."""

    def place(self, number: int) -> str:
        """Return where a record lies, for people: its number, in a folder with the file's name before it."""
        if self.root in self.files:
            return str(number)
        ends = list(accumulate(self.counts))
        index = bisect_left(ends, number)
        start = ends[index - 1] if index else 0
        return f"{self.files[index].relative_to(self.root).as_posix()}:{number - start}"

    def size(self) -> int:
        """Return the bytes of all files, as they lie on disk."""
        return sum(file.stat().st_size for file in self.files)

    def records(self) -> Iterator[Record]:
        """Yield every record of every file. Raises ``BadInput`` for a file that cannot be read to its end."""
        self.counts.clear()
        number = 0
        for file in self.files:
            first = number
            self.counts.append(0)
            for value, problem in self._read(file):
                number += 1
                self.counts[-1] = number - first
                yield Record(number, value, problem)

    def _read(self, file: Path) -> Iterator[Parsed]:
        if file.stat().st_size == 0:
            # Not a shard without rows: what a copy leaves behind that never began.
            raise BadInput(f"{self.what}: {file.name} is damaged or cut off (0 bytes)")
        try:
            yield from parquet_rows(file, MAX_LINE) if file.name.endswith(PARQUET) else _json_lines(file)
        except MemoryError:
            raise
        except (DamagedParquet, EOFError, UnicodeError, zlib.error) as error:
            kind = error if isinstance(error, DamagedParquet) else type(error).__name__
            raise BadInput(f"{self.what}: {file.name} is damaged or cut off ({kind})") from error
        except OSError as error:
            # Raised without an errno for a compressed stream that is damaged or ends too early.
            if error.errno is None:
                raise BadInput(f"{self.what}: {file.name} is damaged or cut off") from error
            raise


def open_dataset(dataset: DatasetInput, scratch: Path) -> tuple[Shards, str]:
    """Return a private copy of the training data below ``scratch``, and the digest of what was copied.

    Raises ``BadInput`` when missing or not what was promised.
    """
    return open_rows("data set", dataset.path, dataset.digest, scratch)


def open_suite(suite: SuiteInput, scratch: Path) -> tuple[Shards, str]:
    """Return a private copy of the suite's questions, and the digest of the suite with the questions that were read.

    Raises ``BadInput`` when missing or not the frozen ones.
    """
    shards, read = open_rows(f"suite {suite.name}", suite.path, suite.spec.data.digest, scratch)
    found = suite_digest(suite.spec, read)
    if found != suite.digest:
        raise BadInput(f"suite {suite.name}: its spec has digest {found}, promised was {suite.digest}")
    return shards, found


def suite_digest(spec: EvaluationSuiteSpec, questions: str) -> str:
    """Return the digest of a suite's spec with ``questions`` as the digest of its data."""
    data = spec.data.model_copy(update={"digest": questions})
    return digests.document_digest(spec.model_copy(update={"data": data}).to_dict())


def open_rows(what: str, path: str, promised: str | None, scratch: Path) -> tuple[Shards, str]:
    """Return a private copy of rows, and the digest of what was copied. Raises ``BadInput`` when another was promised."""
    shards = find_shards(what, Path(path))
    taken = take(what, shards.root, shards.files, scratch)
    check_digest(what, taken.digest, promised)
    return Shards(what, taken.root, taken.files), taken.digest


def check_digest(what: str, found: str, promised: str | None) -> None:
    """Raise ``BadInput`` when another digest was promised than that of what was read."""
    if promised is not None and found != promised:
        raise BadInput(f"{what}: the data has digest {found}, promised was {promised}")


def find_shards(what: str, path: Path) -> Shards:
    """Return the files of the data set at ``path``: itself, or what lies in the folder. Raises ``BadInput``.

    Hidden files, documents, and names beginning with an underscore (what batch jobs leave behind) are not data.
    """
    if not path.is_dir():
        return Shards(what, path, (_accepted(what, path, path.name),))
    found = [file for file in files_below(what, path, "._") if not is_document(file)]
    if not found:
        raise BadInput(f"{what}: no files in the folder {path}")
    return Shards(what, path, tuple(_accepted(what, file, file.relative_to(path).as_posix()) for file in found))


def _accepted(what: str, file: Path, name: str) -> Path:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise BadInput(f"{what}: {file} is not a file that can be read ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise BadInput(f"{what}: {name} is not a regular file")
    if not file.name.endswith(ACCEPTED):
        hint = "; write one object a line instead of one array" if file.suffix == ".json" else ""
        raise BadInput(f"{what}: {name} is none of {', '.join(ACCEPTED)}{hint}")
    return file


def _json_lines(file: Path) -> Iterator[Parsed]:
    with _opened(file) as stream:
        for first, line in _lines(stream):
            yield parse_line(line, first=first)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    compression = next(how for end, how in COMPRESSIONS.items() if file.name.endswith(end))
    if compression is None:
        with file.open("rb") as stream:
            yield stream
    elif compression == "gzip":
        with gzip.open(file) as unpacked:
            yield io.BufferedReader(unpacked, buffer_size=1 << 20)
    else:
        import pyarrow

        with pyarrow.input_stream(str(file), compression=compression) as raw:
            yield io.BufferedReader(raw, buffer_size=1 << 20)


def _lines(stream: BinaryIO) -> Iterator[tuple[bool, bytes]]:
    """Yield whether it is the first, and the line without its end; of one that is too long only the beginning."""
    first = True
    while line := stream.readline(MAX_LINE + 2):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE)
        yield first, line.rstrip(b"\r\n")
        first = False


def parse_line(line: bytes, *, first: bool = False) -> Parsed:
    """Return the object of a line, or what is wrong with it; ``first``: of its file, where a byte order mark may stand."""
    if len(line) > MAX_LINE:
        return None, "line too long"
    if first and line.startswith(BYTE_ORDER_MARK):
        return None, "begins with a byte order mark: save the file as UTF-8 without one"
    if not line.strip():
        # Blank lines are broken too: they hide truncation.
        return None, "empty line"
    try:
        document = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError:
        return None, "not UTF-8"
    except NotJson as error:
        return None, str(error)
    if not isinstance(document, dict):
        return None, "not a JSON object"
    return document, None
