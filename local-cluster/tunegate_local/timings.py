"""How long the parts of `make test` and `make demo` took, beside what they took before: a table, and a file in the cache.

    python -m tunegate_local.timings COMMAND < PARTS

PARTS are lines of a name, seconds and CPU seconds, with tabs between them.

The file keeps the last runs of each command. A part that takes twice the median of those is named. It must also take ten seconds
more, since short parts vary; and a first run, which builds and downloads, is one of several after a while.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate_local import settings

FILE = settings.CACHE / "timings.json"
KEPT_RUNS = 10
SLOWER = 2.0
NOTABLE_SECONDS = 10.0


@dataclass(frozen=True)
class Part:
    """One part of a command. ``cpu_seconds`` are those of all processors together."""

    name: str
    seconds: float
    cpu_seconds: float


def busy_seconds() -> float:
    """Return for how many seconds this machine's processors have worked since it started, whoever let them work."""
    user, nice, system, _, _, irq, softirq = Path("/proc/stat").read_text().split(maxsplit=8)[1:8]
    return sum(map(int, (user, nice, system, irq, softirq))) / os.sysconf("SC_CLK_TCK")


def keep(command: str, parts: Sequence[Part], *, file: Path = FILE) -> str:
    """Add a run to the file and return its table, with a last line for each part that became slower."""
    document = kept(file)
    earlier = document.get(command, [])
    run = {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{os.cpu_count()} x {platform.machine()}",
        "parts": [{"name": part.name, "seconds": part.seconds, "cpuSeconds": part.cpu_seconds} for part in parts],
    }
    document[command] = [*earlier, run][-KEPT_RUNS:]
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(document, indent=1) + "\n")
    unfinished.rename(file)
    return table(parts, earlier) + f"\nkept in {file}\n"


def table(parts: Sequence[Part], earlier: Sequence[dict[str, Any]]) -> str:
    """Return the parts with their sums and the medians of ``earlier`` runs as text."""
    width = max((len(part.name) for part in parts), default=0)
    lines = [f"{'part':{width}}  {'seconds':>8} {'before':>7}  {'CPU seconds':>11} {'before':>7}"]
    slower = []
    for part in parts:
        before = [median(earlier, part.name, key) for key in ("seconds", "cpuSeconds")]
        shown = ["-" if value is None else f"{value:.0f}" for value in before]
        lines.append(f"{part.name:{width}}  {part.seconds:8.0f} {shown[0]:>7}  {part.cpu_seconds:11.0f} {shown[1]:>7}")
        for what, value, usual in zip(("", "CPU "), (part.seconds, part.cpu_seconds), before, strict=True):
            if usual is not None and value >= SLOWER * usual and value - usual >= NOTABLE_SECONDS:
                slower.append(f"slower: {part.name} took {value:.0f} {what}seconds, before {usual:.0f}")
    sums = [sum(part.seconds for part in parts), sum(part.cpu_seconds for part in parts)]
    lines.append(f"{'sum':{width}}  {sums[0]:8.0f} {'':>7}  {sums[1]:11.0f}")
    return "\n".join(lines + slower)


def median(runs: Sequence[dict[str, Any]], name: str, key: str) -> float | None:
    """Return the median of a part's ``seconds`` or ``cpuSeconds``; None if no run has the part."""
    values = [part[key] for run in runs for part in run["parts"] if part["name"] == name]
    return statistics.median(values) if values else None


def kept(file: Path = FILE) -> dict[str, list[dict[str, Any]]]:
    """Return the recorded runs by command; none if the file is missing or broken."""
    try:
        document: dict[str, list[dict[str, Any]]] = json.loads(file.read_text())
        for runs in document.values():
            median(runs, "", "seconds")
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return document


def read_parts(lines: Sequence[str]) -> list[Part]:
    """Return the parts that lines of name, seconds and CPU seconds describe."""
    fields = [line.split("\t") for line in lines]
    return [Part(name, float(seconds), float(cpu)) for name, seconds, cpu in fields]


def main(say: Callable[[str], object] = sys.stdout.write) -> None:
    """Keep and show the parts on standard input under the name in the first argument."""
    say(keep(sys.argv[1], read_parts(sys.stdin.read().splitlines())))


if __name__ == "__main__":
    main()
