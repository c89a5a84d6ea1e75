"""Tries many mutated files of each kind and counts how reading them ends.

    python -m tests.mutated_files.run --files 10000 --seed 16

The same seed gives the same changes. A file on which reading neither refuses nor succeeds is named by kind, seed and number:
`--kind KIND --number N` tries that one again, `--keep FOLDER` copies such files there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutated_files.kinds import GROUPS, kinds_of

ROOT = Path(__file__).parents[2]
ASLEEP_SECONDS = 30.0
"""How long a child may sleep without using its processor: it waits for something, such as the other end of a pipe. A child
that only waits for its turn on a loaded machine does not sleep."""


@dataclass
class Outcome:
    """How the files of one kind ended."""

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Number of the file, and what happened."""

    @property
    def files(self) -> int:
        """All that were tried."""
        return self.counts.total()


def try_kind(group: str, kind: str, count: int, seed: int, *, first: int = 1, keep: str = "") -> Outcome:
    """Try ``count`` files of a kind, in as many processes as it takes."""
    outcome = Outcome(kind)
    last = first + count
    while first < last:
        first = _child(outcome, first, last, ["--group", group, "--seed", str(seed), "--keep", keep])
    return outcome


def _child(outcome: Outcome, first: int, last: int, options: Sequence[str]) -> int:
    """Run a process from ``first`` on; return the number that the next one begins with."""
    command = [sys.executable, "-m", "tests.mutated_files.child", "--kind", outcome.kind, *options]
    child = subprocess.Popen(
        [*command, "--first", str(first), "--last", str(last)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stderr is not None
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(child.stderr or ()), daemon=True)
    reader.start()
    threading.Thread(target=_end_when_asleep, args=(child,), daemon=True).start()
    number = first - 1
    for line in child.stdout:
        said = json.loads(line)
        if "begins" in said:
            number = said["begins"]
            continue
        _count(outcome, said)
        first = said["number"] + 1
    status = child.wait()
    reader.join(10)
    if first >= last:
        return first
    if number < first:
        raise RuntimeError(f"{outcome.kind}: {''.join(errors)[-2000:]}")
    _count(outcome, {"number": number, "fault": _death(status, "".join(errors))})
    return number + 1


def _end_when_asleep(child: subprocess.Popen[str]) -> None:
    """Kill a process that sleeps and uses no processor time."""
    before, since = "", time.monotonic()
    while child.poll() is None:
        now = _work(child.pid)
        if now != before or not now.startswith("S"):
            before, since = now, time.monotonic()
        elif time.monotonic() - since > ASLEEP_SECONDS:
            child.kill()
        time.sleep(2)


def _work(pid: int) -> str:
    """Return a process's state and its processor time so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{fields[0]} {fields[11]} {fields[12]}"


def _count(outcome: Outcome, said: dict[str, str]) -> None:
    how = next(name for name in ("fault", "refused", "read") if name in said)
    outcome.counts[how] += 1
    if how == "fault":
        outcome.faults.append((int(said["number"]), said["fault"]))


def _death(status: int, errors: str) -> str:
    if status == -signal.SIGKILL:
        return "waited for something that never came, or was killed for memory"
    if status == -signal.SIGPROF:
        return "took too much processor time"
    return f"ended by {signal.Signals(-status).name if status < 0 else status}: {errors[-600:]}"


def main() -> int:
    """Try files of all kinds, print a table, and return 1 where a file ended in a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--group", action="append", choices=list(GROUPS), help="image: kinds that need the trainer image")
    parser.add_argument("--kind", help="only this one")
    parser.add_argument("--number", type=int, help="with --kind: only the file of this number")
    parser.add_argument("--keep", default="", metavar="FOLDER", help="copy files that end in a fault there")
    options = parser.parse_args()
    groups = options.group or [group for group in GROUPS if group != "image"]
    names = {kind.name: group for group in groups for kind in kinds_of(group) if options.kind in (None, kind.name)}
    each = 1 if options.number else -(-options.files // len(names))
    found = []
    for name, group in names.items():
        outcome = try_kind(group, name, each, options.seed, first=options.number or 1, keep=options.keep)
        found.append(outcome)
        print(f"| {name} | {outcome.files} | {outcome.counts['read']} | {outcome.counts['refused']} | {len(outcome.faults)} |", flush=True)
        for number, fault in outcome.faults[:20]:
            print(f"    {name}, seed {options.seed}, number {number}: {fault}", flush=True)
    faults = sum(len(outcome.faults) for outcome in found)
    print(f"{sum(outcome.files for outcome in found)} files with seed {options.seed}, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
