"""The tables of docs/timings.md: seconds of each part of `make demo` and `make test` on this machine, now and earlier.

    python -m chores.timings_page

Both commands record their times in the cache (`tunegate_local.timings`). No check compares the page, since times differ between machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chores import generated
from tunegate_local import timings

PAGE = Path(__file__).resolve().parents[1] / "docs/timings.md"
COMMAND = "make timings"
Json = dict[str, Any]
TITLES = {
    "demo": "`make demo`",
    "demo QUICK=1": "`make demo QUICK=1`",
    "test": "`make test`",
    "demo under faults": "The demo under faults, a part of `make test`",
}
"""Commands by their names in the record."""
BEFORE: Mapping[str, Mapping[str, str]] = {
    "demo": {
        "Cluster": "346",
        "Container images": "347",
        "Input: license notices and base model": "112",
        "Install the charts": "36",
        "Catalogue: pool, policy, base model, server, suite": "7",
        "FineTuneJob: check, baselines, QLoRA, seal, evaluate": "832",
        "ModelRelease: evidence sealed": "10 with the next two",
        "Rollout: pull, verify, load, probe, open the route": "54",
        "Ask base and tuned model through the gateway": "9",
        "Flip one byte of the stored adapter": "62",
        "Lineage: what data, what base, who approved, what runs": "4",
        "sum": "1827",
    },
    "test": {
        "Lint, types, layers, generated files": "34-48",
        "Local cluster": "20 with the next",
        "Tests that need no cluster": "1170-1533, beside others",
        "The demo under faults, and the documented commands": "1600",
        "Tests on the cluster": "426-1262",
        "Nothing of the cluster is left": "34",
        "sum": "2700",
    },
}
"""Seconds of each part at commit dfae51f. The page says how they were measured."""


def tables(runs: Mapping[str, Sequence[Json]]) -> str:
    """Return one table for each command, or a sentence if no run is recorded."""
    return "\n".join(f"### {title}\n\n{_table(command, runs.get(command, ()))}" for command, title in TITLES.items())


def _table(command: str, runs: Sequence[Json]) -> str:
    if not runs:
        return "No run is recorded.\n"
    last, before = runs[-1], BEFORE.get(command, {})
    days = sorted({str(run["ended"])[:10] for run in runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    machines = ", ".join(sorted({str(run["machine"]) for run in runs}))
    names = [part["name"] for part in last["parts"]]
    lines = [
        f"{len(runs)} {'run' if len(runs) == 1 else 'runs, medians'}; {when}; {machines}.", "",
        "| part | seconds | CPU seconds | before |", "|---|---:|---:|---:|",
    ]  # fmt: skip
    for name in names:
        seconds, cpu = (timings.median(runs, name, key) for key in ("seconds", "cpuSeconds"))
        lines.append(f"| {name} | {seconds:.0f} | {cpu:.0f} | {before.get(name, '')} |")
    sums = (sum(timings.median(runs, name, key) or 0 for name in names) for key in ("seconds", "cpuSeconds"))
    lines.append(f"| sum | {' | '.join(f'{value:.0f}' for value in sums)} | {before.get('sum', '')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    PAGE.write_text(generated.replace(PAGE.read_text(), COMMAND, tables(timings.kept())))


if __name__ == "__main__":
    main()
