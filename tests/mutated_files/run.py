"""Tries many mutated files of each kind and counts how reading them ends.

    python -m tests.mutated_files.run --each 420 --seed 16

The same seed gives the same changes. A file on which reading neither refuses nor succeeds is named by kind, seed and number:
`--group GROUP --kind KIND --number N` tries that one again, `--keep FOLDER` copies such files there.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutated_files.kinds import GROUPS

ROOT = Path(__file__).parents[2]
CHILD = [sys.executable, "-m", "tests.mutated_files.child"]
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


class Outcomes(dict[str, Outcome]):
    """By kind, in the order in which they are tried; each is told when its last file was tried."""

    def __init__(self, tell: Callable[[Outcome], None]) -> None:
        super().__init__()
        self._tell = tell

    def __missing__(self, kind: str) -> Outcome:
        self.end()
        return self.setdefault(kind, Outcome(kind))

    def end(self) -> None:
        """Tell the last one."""
        if self:
            self._tell(next(reversed(self.values())))


def try_group(
    group: str, each: int, seed: int, *, kind: str = "", number: int = 0, keep: str = "",
    tell: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:  # fmt: skip
    """Try ``each`` files of each kind of a group, or of one ``kind``, or its one file of a ``number``; in as many processes
    as it takes."""
    found = Outcomes(tell)
    options = ["--group", group, "--seed", str(seed), "--each", str(number or each), "--keep", keep]
    options += ["--only"] if kind else []
    place: tuple[str, int] | None = (kind, number or 1)
    while place is not None:
        place = _child(found, place, options)
    found.end()
    return list(found.values())


def _child(found: Outcomes, place: tuple[str, int], options: Sequence[str]) -> tuple[str, int] | None:
    """Run a process that begins with a kind and a number; return where the next one begins if this one did not end by itself."""
    child = subprocess.Popen(
        [*CHILD, *options, "--kind", place[0], "--first", str(place[1])],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )  # fmt: skip
    assert child.stdout is not None
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(child.stderr or ()), daemon=True)
    reader.start()
    threading.Thread(target=_end_when_asleep, args=(child,), daemon=True).start()
    begun: tuple[str, int] | None = None
    for line in child.stdout:
        said = json.loads(line)
        outcome = found[said["kind"]]
        if "begins" in said:
            begun = (said["kind"], said["begins"])
        else:
            _count(outcome, said)
    status = child.wait()
    reader.join(10)
    if status == 0:
        return None
    if begun is None:
        raise RuntimeError("".join(errors)[-3000:])
    _count(found[begun[0]], {"number": begun[1], "fault": _death(status, "".join(errors))})
    return begun[0], begun[1] + 1


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


def _count(outcome: Outcome, said: Mapping[str, Any]) -> None:
    how = next(name for name in ("fault", "refused", "read") if name in said)
    outcome.counts[how] += 1
    if how == "fault":
        outcome.faults.append((int(said["number"]), str(said["fault"])))


def _death(status: int, errors: str) -> str:
    if status == -signal.SIGKILL:
        return "waited for something that never came, or was killed for memory"
    if status == -signal.SIGPROF:
        return "took too much processor time"
    return f"ended by {signal.Signals(-status).name if status < 0 else status}: {errors[-600:]}"


def _print(outcome: Outcome) -> None:
    counts = outcome.counts
    print(
        f"| {outcome.kind} | {outcome.files} | {counts['read']} | {counts['refused']} | {counts['fault']} |", flush=True
    )
    for number, fault in outcome.faults[:20]:
        print(f"    {outcome.kind}, number {number}: {fault}", flush=True)


def main() -> int:
    """Try files of all kinds, print a table, and return 1 where a file ended in a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--each", type=int, default=420, help="files of each kind; 420 are 10,000 without the group image"
    )
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument(
        "--group", action="append", choices=list(GROUPS), help="image: kinds that need the trainer image"
    )
    parser.add_argument("--kind", default="", help="with one --group: only this one")
    parser.add_argument("--number", type=int, default=0, help="with --kind: only the file of this number")
    parser.add_argument("--keep", default="", metavar="FOLDER", help="copy files that end in a fault there")
    options = parser.parse_args()
    found: list[Outcome] = []
    print("| kind | files | read | refused | faults |\n|---|---|---|---|---|")
    for group in options.group or [group for group in GROUPS if group != "image"]:
        found += try_group(
            group, options.each, options.seed, kind=options.kind, number=options.number, keep=options.keep, tell=_print
        )
    faults = sum(len(outcome.faults) for outcome in found)
    print(f"{sum(outcome.files for outcome in found)} files with seed {options.seed}, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
