"""`create job|release|suite` and what they take."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import get_args

from tunegate.api.markers import DataClass
from tunegate.cli import completion, exchange
from tunegate.cli.create import create, init, suite
from tunegate.cli.create.suite_spec import FIELDS, METRICS, SWITCHES, TASKS
from tunegate.cli.grammar import Grammar, add_output, on_cluster

FORMATS = ("text", "name")


def add(commands: Grammar) -> None:
    """Add the commands."""
    kinds = commands.group("create", "ask for a job or a release in your name, or make a suite")

    one = kinds.add(
        "job", on_cluster(create.job), "create jobs from YAML, in your name",
        examples=["create job -f finetunejob.yaml --dry-run", "create job -n licenses-team -f finetunejob.yaml"],
    )  # fmt: skip
    one.add_argument("-f", "--filename", required=True, help="YAML file; - reads standard input")
    add_creating(one)
    exchange.add_options(one)

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

    _suite(kinds)
    _init(commands)


def _init(commands: Grammar) -> None:
    one = commands.add(
        "init", init.init, "write a first job and suite, as commented YAML, from a file of rows and what the cluster has",
        examples=[
            "init invoices -n licenses-team --from rows.jsonl --split 80 --classification Internal --license LicenseRef-contract-17 "
            "--source 'invoices of 2025' --steward billing",
            "init invoices --from train.jsonl --suite invoices-2025 --uri oci://licenses-team/datasets/invoices@sha256:DIGEST",
            "init invoices --from rows.jsonl --questions questions.jsonl --offline",
        ],
    )  # fmt: skip
    one.add_argument("name", metavar="NAME", help="of the job, the suite and the folder")
    one.add_argument(
        "--from", dest="from_", metavar="FILE", required=True, help="rows to train on: .jsonl (or .gz, .zst, .parquet)"
    )
    one.add_argument("--folder", help="where to write; default: NAME. Files that exist are never overwritten")
    asked = one.add_argument_group(
        "the questions that judge the result; without any, the suite is left to be filled in"
    )
    asked.add_argument("--suite", metavar="NAME", help="a suite that exists; no suite is written")
    asked.add_argument("--questions", metavar="FILE", help="a file of questions with their expected answers")
    asked.add_argument(
        "--split", metavar="COUNT", type=int,
        help="split so many rows off FILE as questions: they leave the training file that is written, and FILE stays as it is",
    )  # fmt: skip
    asked.add_argument(
        "--questions-uri", metavar="URI", help="where they lie, as pvc://CLAIM/path; default: create suite pushes them"
    )
    asked.add_argument("--task", choices=TASKS, help="default: what the answers look like")
    asked.add_argument("--metric", choices=METRICS, help="that decides; default: by the task")
    data = one.add_argument_group("what the job says of its data")
    data.add_argument(
        "--uri", help="where the stages find it: pvc://CLAIM/path, s3://… or oci://…; default: on the only open claim"
    )
    data.add_argument("--classification", choices=get_args(DataClass), help="default: the only class that is allowed")
    data.add_argument("--license", help="SPDX expression or the name of the contract")
    data.add_argument("--source", help="where the rows came from")
    data.add_argument("--steward", help="who answers for them")
    data.add_argument("--expires", metavar="YYYY-MM-DD", help="last day on which they may be used")
    data.add_argument("--group-field", metavar="FIELD", help="of a row that names its group, such as a document")
    site = one.add_argument_group("objects of the cluster; default: the only one that you may see")
    for kind in ("server", "pool", "policy"):
        site.add_argument(f"--{kind}", metavar="NAME")
    site.add_argument(
        "--offline", action="store_true", help="ask no cluster: what it would say is left to be filled in"
    )


def _suite(kinds: Grammar) -> None:
    one = kinds.add(
        "suite", suite.suite, "try a suite on its questions, push these, and create it",
        examples=[
            "create suite invoices --from questions.jsonl "
            "--task Extraction --schema schema.json --metric ExactMatch --margin 0.1 --dry-run",
            "create suite tickets --from questions.jsonl --uri pvc://tickets/questions.jsonl "
            "--task Classification --labels billing,technical,other --metric MacroF1 --classifier",
            "create suite -f evaluationsuite.yaml --from questions.jsonl",
        ],
    )  # fmt: skip
    one.add_argument("name", nargs="?", metavar="NAME", help="of the suite; with -f the file says it")
    one.add_argument(
        "--from", dest="from_", metavar="FILE", required=True,
        help="the questions: chat JSONL (or .gz, .zst, .parquet) whose last assistant turn is the expected answer",
    )  # fmt: skip
    one.add_argument(
        "-f", "--filename", metavar="YAML", help="file of one EvaluationSuite in place of the options below"
    )
    for option, (metavar, text) in FIELDS.items():
        one.add_argument(f"--{option}", metavar=metavar, help=text)
    for option, text in SWITCHES.items():
        one.add_argument(f"--{option}", action="store_true", help=text)
    one.add_argument("--guardrail", action="append", metavar="METRIC=TOLERANCE", help="may be given more than once")
    one.add_argument("--strict", action="store_true", help="warnings count as a refusal")
    one.add_argument(
        "--offline", action="store_true", help="ask no cluster and create nothing: for anyone who may not create suites"
    )
    one.add_argument("--dry-run", action="store_true", help="let the server check, create nothing")
    add_output(one, ("text", "name", "yaml"), "yaml: the object, with the digest filled in; name: KIND/NAME")
    exchange.add_options(one)


def add_creating(parser: ArgumentParser) -> None:
    """Add what every command takes that creates objects."""
    parser.add_argument("--dry-run", action="store_true", help="let the server check, create nothing")
    parser.add_argument("--strict", action="store_true", help="warnings count as a refusal: nothing is created")
    add_output(parser, FORMATS, "name: KIND/NAME, as other commands take it")
