"""The process that tries mutated files of a kind, one after the other, and says a line of JSON about each.

Bounds that the kernel keeps: memory that it may have beyond what its libraries need, and processor time for one file. A
process that goes beyond is ended, and its parent starts the next one after that file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from tests.mutated_files.kinds import Files, Kind, kinds_of, try_one

MEMORY_BYTES = 1024**3
"""Address space beyond that of the process before its first file. A file of some hundred KiB has no claim to more."""
PROCESSOR_SECONDS = 30.0
"""Of one file, over all threads: not of the clock, which a loaded machine stretches."""


def main() -> None:
    """Try files ``--first`` to ``--last`` of one kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("kind", "group", "keep"):
        parser.add_argument(f"--{name}", default="")
    for name in ("seed", "first", "last"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    kind = next(kind for kind in kinds_of(options.group) if kind.name == options.kind)
    files = kind.make()
    with tempfile.TemporaryDirectory() as place:
        _try(kind, files, Path(place, "first"), options.seed, 0)  # so that libraries are loaded before memory is bounded
        _bound_memory()
        for number in range(options.first, options.last):
            folder = Path(place, str(number))
            print(json.dumps({"begins": number}), file=out)
            signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
            said = _try(kind, files, folder, options.seed, number)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if "fault" in said and options.keep:
                shutil.copytree(folder, Path(options.keep, kind.name, str(number)), symlinks=True, dirs_exist_ok=True)
            print(json.dumps({"number": number, **said}), file=out)
            shutil.rmtree(folder, ignore_errors=True)


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
    sys.exit(main())
