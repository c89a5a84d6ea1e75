"""`retry`, `clone`, `suspend`, `resume`, `compare` and `plot`, and what they take."""

from __future__ import annotations

from argparse import ArgumentParser

from tunegate.cli import completion, exchange, oci_registry, screen
from tunegate.cli.create import commands as create
from tunegate.cli.grammar import Grammar, add_output, on_cluster
from tunegate.cli.jobs import compare, plot, rerun, suspend
from tunegate.cli.jobs.settings import setting
from tunegate.cli.reference import JOB


def add(commands: Grammar) -> None:
    """Add the commands."""
    one = commands.add(
        "retry", on_cluster(rerun.retry), "create a job like one that has ended, under the next free name",
        examples=["retry job/holders -n licenses-team", "retry job/holders --set method.learningRate=0.0001 --dry-run"],
    )  # fmt: skip
    _job(one)
    _copying(one)

    one = commands.add(
        "clone", on_cluster(rerun.clone), "create a job like another one, under a name of your own",
        examples=["clone job/holders holders-wide --set method.rank=32 --set method.alpha=64 -n licenses-team"],
    )  # fmt: skip
    _job(one)
    one.add_argument("name", metavar="NAME", help="of the new job")
    _copying(one)

    one = commands.add(
        "suspend", on_cluster(suspend.suspend), "stop a job and keep its checkpoints",
        examples=["suspend job/holders -n licenses-team"],
    )  # fmt: skip
    _job(one)

    one = commands.add(
        "resume", on_cluster(suspend.resume), "let a suspended job go on, training from its last checkpoint",
        examples=["resume job/holders -n licenses-team"],
    )  # fmt: skip
    _job(one)

    one = commands.add(
        "compare", on_cluster(compare.compare), "show two jobs side by side: settings, inputs, scores, gate and cost",
        examples=["compare job/holders job/holders-2 -n licenses-team", "compare job/a job/b -o json"],
    )  # fmt: skip
    _job(one)
    completion.add_reference(one, (JOB,), name="other", metavar="job/OTHER")
    add_output(one, screen.FORMATS)

    one = commands.add(
        "plot", on_cluster(plot.plot), "draw a job's losses and its scores at the gate",
        examples=["plot job/holders -n licenses-team", "plot job/holders -o svg > holders.svg"],
    )  # fmt: skip
    _job(one)
    add_output(one, plot.FORMATS, "svg: an image; json: the numbers")
    oci_registry.add_options(one, "Losses are read there once training has ended, otherwise from the pods' logs")


def _job(parser: ArgumentParser) -> None:
    completion.add_reference(parser, (JOB,), metavar="job/NAME")


def _copying(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--set", dest="settings", action="append", type=setting, metavar="FIELD=VALUE",
        help="a field of spec by its path, such as method.learningRate=0.0001; null takes it away; may be repeated",
    )  # fmt: skip
    create.add_creating(parser)
    exchange.add_options(parser)
