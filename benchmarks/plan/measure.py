"""How long `tunegate plan` takes for a data set on a machine like a laptop, and how large what it needs is.

Run it with the Python of an environment that holds the command line with its extra `plan` and nothing else (README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORDS = [
    "copyright",
    "holder",
    "licence",
    "year",
    "author",
    "software",
    "permission",
    "notice",
    "company",
    "university",
    "foundation",
]


def rows(count: int, start: int = 0) -> list[str]:
    """Return notices and what is to be read from them, as rows of JSON lines."""
    found = []
    for number in range(start, start + count):
        text = " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(1, 40))
        question = f"Copyright {1970 + number % 55} Person{number} Family{number * 7919 % 10007}. {text}"
        answer = json.dumps(
            {"holder": f"Person{number} Family{number * 7919 % 10007}", "years": str(1970 + number % 55)}
        )
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        found.append(json.dumps({"messages": turns}))
    return found


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the files, empty")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.support.plan_files import write_plan_files

    arguments = write_plan_files(options.folder)
    data = options.folder / "volume/train.jsonl"
    arguments += ["--volume", f"models={options.model.parent}", "--quiet", "-o", "json"]
    for count in (100, options.rows):
        data.write_text("".join(f"{row}\n" for row in rows(count)))
        started, before = time.perf_counter(), os.times()
        done = subprocess.run(
            [sys.executable, "-m", "tunegate.cli", *arguments], capture_output=True, text=True, check=False
        )
        after, took = os.times(), time.perf_counter() - started
        if not done.stdout:
            raise SystemExit(done.stderr)
        result = json.loads(done.stdout)
        processor = after.children_user + after.children_system - before.children_user - before.children_system
        print(
            f"{result['rows']} rows, {result['tokens']} tokens: {result['outcome']}, {took:.1f} s, {processor:.1f} s of processor time"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
