"""`create job|release` and what they take."""

from __future__ import annotations

from argparse import ArgumentParser

from tunegate.cli import completion
from tunegate.cli.create import create
from tunegate.cli.grammar import Grammar, add_output, on_cluster

FORMATS = ("text", "name")


def add(commands: Grammar) -> None:
    """Add the commands."""
    kinds = commands.group("create", "ask for a job or a release, in your name")

    one = kinds.add(
        "job", on_cluster(create.job), "create jobs from YAML, in your name",
        examples=["create job -f finetunejob.yaml --dry-run", "create job -n licenses-team -f finetunejob.yaml"],
    )  # fmt: skip
    one.add_argument("-f", "--filename", required=True, help="YAML file; - reads standard input")
    add_creating(one)

    one = kinds.add(
        "release", create.release, "ask to serve a job's adapter, in your name",
        examples=[
            'create release --from-job holders --model holders --risk Low --intended-use "Fill the holder column."',
            "create release -f modelrelease.yaml",
        ],
    )  # fmt: skip
    one.add_argument("name", nargs="?", metavar="NAME", help="of the release; default: the job's")
    source = one.add_mutually_exclusive_group(required=True)
    completion.completed(source.add_argument("--from-job", metavar="JOB", help="its name"), completion.JOBS)
    source.add_argument("-f", "--filename", help="YAML file of releases; - reads standard input")
    one.add_argument("--model", help="public model name, as routes and clients know it")
    one.add_argument("--intended-use", help="what it is for and what it must not be used for")
    one.add_argument("--risk", choices=["Low", "Medium", "High"])
    add_creating(one)


def add_creating(parser: ArgumentParser) -> None:
    """Add what every command takes that creates objects."""
    parser.add_argument("--dry-run", action="store_true", help="let the server check, create nothing")
    add_output(parser, FORMATS, "name: KIND/NAME, as other commands take it")
