"""How long `tunegate plan` takes for a data set on a machine like a laptop, and whether another commit's says the same.

Run it with the Python of an environment that holds the command line with its extra `plan` and nothing else (README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
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


PLAN = """
import sys, time
from tunegate.cli.main import main
main(sys.argv[1:])
print("main thread:", time.thread_time(), file=sys.stderr)
"""
READ = """
import sys, tempfile, time
from pathlib import Path
from tunegate_trainer.data.rows import RowStream
from tunegate_trainer.data.shards import open_rows
shards, _ = open_rows("rows", sys.argv[1], None, Path(tempfile.mkdtemp()))
before = time.process_time()
for row in RowStream(shards):
    pass
print(time.process_time() - before)
"""


FIELDS = ("seconds", "processor", "main_thread")


@dataclass(frozen=True)
class Run:
    """What one run took."""

    seconds: float
    processor: float
    """Seconds of all threads."""
    main_thread: float
    """Seconds of the processor: what is left to wait for where the other threads have a core of their own."""
    said: Json


def run(code: Path, arguments: list[str]) -> Run:
    """Run `plan` with the code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": f"{code / 'operator'}:{code / 'trainer-image'}"}
    # As in an environment that was installed: modules are compiled once.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "plan-pycache")
    started, before = time.perf_counter(), os.times()
    command = [sys.executable, "-c", PLAN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    after, took = os.times(), time.perf_counter() - started
    if not done.stdout:
        raise SystemExit(done.stderr)
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(took, processor, float(done.stderr.rpartition(": ")[2]), json.loads(done.stdout))


def reading(code: Path, data: Path) -> float:
    """Return the processor seconds that reading the rows alone takes."""
    environment = {**os.environ, "PYTHONPATH": f"{code / 'operator'}:{code / 'trainer-image'}"}
    command = [sys.executable, "-c", READ, str(data)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the files, empty")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=2, help="of each; the best one counts")
    parser.add_argument("--before", type=Path, help="another checkout, whose code is measured beside")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.support.plan_files import write_plan_files

    arguments = write_plan_files(options.folder)
    data = options.folder / "volume/train.jsonl"
    arguments += ["--volume", f"models={options.model.parent}", "--quiet", "-o", "json"]
    trees = {**({"before": options.before.resolve()} if options.before else {}), "now": ROOT}
    print(
        f"| rows | tokens | {' | '.join(f'{name}: seconds | processor | main thread' for name in trees)} | reading, processor |"
    )
    print(f"|---|---|{'---|---|---|' * len(trees)}---|")
    for count in (100, options.rows):
        data.write_text("".join(f"{row}\n" for row in rows(count)))
        # One after the other, so that a busy machine slows both down.
        found = [{name: run(code, arguments) for name, code in trees.items()} for _ in range(options.runs)]
        if any(one.said != found[0]["now"].said for each in found for one in each.values()):
            raise SystemExit("the results differ")
        cells = [
            " | ".join(f"{min(getattr(each[name], field) for each in found):.1f} s" for field in FIELDS)
            for name in trees
        ]
        said = found[0]["now"].said
        print(f"| {said['rows']} | {said['tokens']} | {' | '.join(cells)} | {reading(ROOT, data):.1f} s |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
