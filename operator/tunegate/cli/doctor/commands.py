"""`doctor` and what it takes."""

from __future__ import annotations

from tunegate.cli import screen
from tunegate.cli.doctor import doctor
from tunegate.cli.grammar import Grammar, add_output, on_cluster


def add(commands: Grammar) -> None:
    """Add the command."""
    one = commands.add(
        "doctor", on_cluster(doctor.doctor), "say what holds in this cluster: rules, rights, duties, ledger",
        examples=["doctor", "doctor --system-namespace tunegate-system -o json"],
    )  # fmt: skip
    one.add_argument("--system-namespace", default="tunegate-system", help="where the operator runs")
    one.add_argument("--rules", metavar="FILE", help="admission rules to compare with; default: the operator's own")
    add_output(one, screen.FORMATS)
