"""`create job|release|suite` and what they take."""

from __future__ import annotations

from argparse import ArgumentParser

from tunegate.cli import completion, exchange
from tunegate.cli.create import create, suite
from tunegate.cli.create.suite_spec import FIELDS, SWITCHES
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
    add_output(parser, FORMATS, "name: KIND/NAME, as other commands take it")
