"""The process that tries mutated files of some kinds, one after the other, and says a line of JSON about each.

Bounds that the kernel keeps: memory that it may have beyond what its libraries need, and processor time for one file. A
process that goes beyond is ended, and its parent starts the next one after that file.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import logging
import os
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from tests.mutated_files.kinds import Files, Kind, Wrong, kinds_of, try_one

MEMORY_BYTES = 1024**3
"""Address space beyond that of the process before its first file. A file of some hundred KiB has no claim to more."""
PROCESSOR_SECONDS = 30.0
"""Of one file, over all threads: not of the clock, which a loaded machine stretches."""

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def main() -> None:
    """Try ``--each`` files of each kind of a group, beginning with a kind and a number."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("group", "kind", "keep"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--only", action="store_true", help="no kind after that one")
    for name in ("seed", "first", "each"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    _leave_network()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    kinds = list(kinds_of(options.group))
    start = next((at for at, kind in enumerate(kinds) if kind.name == options.kind), 0)
    chosen = kinds[start : start + 1] if options.only else kinds[start:]
    with tempfile.TemporaryDirectory() as place:
        made = [(kind, kind.make()) for kind in chosen]
        warm_up(made, Path(place))
        _bound_memory()
        first = options.first
        for kind, files in made:
            for number in range(first, options.each + 1):
                said = _said(kind, files, Path(place), options, number, out)
                print(json.dumps({"kind": kind.name, "number": number, **said}), file=out)
            first = 1


def _leave_network() -> None:
    """Go into a network namespace without any address: a mutated address may be that of a machine that exists."""
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace of its own: {os.strerror(number)}")


def warm_up(made: Sequence[tuple[Kind, Files]], place: Path) -> None:
    """Read the files as they were made, so that libraries are loaded before memory is bounded. Raises ``Wrong`` for a refusal."""
    for kind, files in made:
        folder = place / f"good {kind.name}" / "files"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        with contextlib.chdir(folder.parent):
            if (refusal := kind.read(folder)) is not None and not kind.reported:
                raise Wrong(f"{kind.name}: good files are refused: {refusal[:500]}")


def _said(
    kind: Kind, files: Files, place: Path, options: argparse.Namespace, number: int, out: TextIO
) -> dict[str, str]:
    """Try one file within its processor time, and keep it where it ends in a fault."""
    folder = place / f"{kind.name} {number}"
    print(json.dumps({"kind": kind.name, "begins": number}), file=out)
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
    said = _try(kind, files, folder, options.seed, number)
    signal.setitimer(signal.ITIMER_PROF, 0)
    if "fault" in said and options.keep:
        shutil.copytree(folder / "files", Path(options.keep, kind.name, str(number)), symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return said


def _bound_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))


def _try(kind: Kind, files: Files, place: Path, seed: int, number: int) -> dict[str, str]:
    """Return `refused` with the message, `read`, or `fault` with where it was raised."""
    folder = place / "files"
    folder.mkdir(parents=True)
    try:
        with contextlib.chdir(place):
            refusal = try_one(kind, files, folder, seed, number)
    except Exception as error:
        place_of = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(place_of))
        return {"fault": f"{type(error).__name__}: {str(error)[:400]} [{where}]"}
    return {"refused": refusal[:300]} if refusal is not None else {"read": ""}


if __name__ == "__main__":
    main()
