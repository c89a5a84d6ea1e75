"""`mlflow`, and what it takes."""

from __future__ import annotations

from tunegate.cli import completion, exchange
from tunegate.cli.grammar import Grammar, on_cluster
from tunegate.cli.mlflow import window
from tunegate.cli.reference import JOB, RELEASE


def add(commands: Grammar) -> None:
    """Add the command."""
    one = commands.add(
        "mlflow", on_cluster(window.show),
        "open MLflow on runs and models that you may read; it stays open until you end the command",
        examples=["mlflow -n licenses-team", "mlflow job/holders -n licenses-team", "mlflow release/holders-1 --no-browser"],
    )  # fmt: skip
    completion.add_reference(one, (JOB, RELEASE), metavar="job/NAME|release/NAME", optional=True)
    one.add_argument("--port", type=int, default=0, metavar="PORT", help="on this machine; default: any that is free")
    one.add_argument("--no-browser", action="store_true", help="only print the address")
    exchange.add_options(one)
