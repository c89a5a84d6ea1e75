"""How fast a base model is hashed at the start of a pod: by threads over its files, beside one file at a time.

PYTHONPATH=operator .venv/bin/python benchmarks/integrity/hashing.py [FOLDER] [--files 4] [--megabytes 128] [--threads 1 2 4]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tunegate.base_files import hash_folder

ROUNDS = 3
LARGE = 140e9
"""Bytes of a model of 70 billion parameters in 16 bits."""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the files are made; by default a temporary folder")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--megabytes", type=int, default=128, help="of each file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        files = make(Path(place), options.files, options.megabytes)
        size = sum(file.stat().st_size for file in files)
        hash_folder(Path(place), files)  # the page cache is warm from here on
        print(
            "| threads | MB/s | MB for each second of a core | 140 GB on so many idle cores, minutes |\n|---|---|---|---|"
        )
        for threads in options.threads:
            rounds = [seconds(Path(place), files, threads) for _ in range(ROUNDS)]
            rate, core = size / min(wall for wall, _ in rounds), size / min(cpu for _, cpu in rounds)
            print(f"| {threads} | {rate / 1e6:.0f} | {core / 1e6:.0f} | {LARGE / core / threads / 60:.1f} |")


def make(folder: Path, files: int, megabytes: int) -> list[Path]:
    """Write files of bytes that repeat after a while: SHA-256 takes the same time for any."""
    piece = bytes(range(256)) * 4096
    made = [folder / f"model-{number}.safetensors" for number in range(files)]
    for file in made:
        with file.open("wb") as stream:
            for _ in range(megabytes):
                stream.write(piece)
    return made


def seconds(folder: Path, files: list[Path], threads: int) -> tuple[float, float]:
    """Return how long one pass takes, and the seconds of processors that it costs: those a busy machine changes less."""
    started, used = time.monotonic(), time.process_time()
    hash_folder(folder, files, threads=threads)
    return time.monotonic() - started, time.process_time() - used


if __name__ == "__main__":
    main()
