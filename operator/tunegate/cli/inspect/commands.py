"""`inspect data|answers` and what they take."""

from __future__ import annotations

from tunegate.cli import completion, oci_registry
from tunegate.cli.grammar import Grammar, add_output, on_cluster
from tunegate.cli.inspect import answers, answers_page, data
from tunegate.cli.reference import JOB, RELEASE

KINDS = (RELEASE, JOB)


def add(commands: Grammar) -> None:
    """Add the commands."""
    parts = commands.group("inspect", "read what the stages of a job left in the registry, verified")

    one = parts.add(
        "data", on_cluster(data.data), "show what was stated and found of a job's training data",
        examples=["inspect data job/holders -n licenses-team", "inspect data release/holders-1 -o html > data.html"],
    )  # fmt: skip
    completion.add_reference(one, KINDS)
    add_output(one, data.FORMATS, "croissant: JSON-LD for catalogues of data; html: the page, which shows rows")
    oci_registry.add_options(one, "Where the statement lies")

    one = parts.add(
        "answers", on_cluster(answers.answers),
        "show questions of the gate: what was expected, what was answered, right or wrong",
        examples=["inspect answers release/holders-1 -n licenses-team", "inspect answers job/holders --all --full"],
    )  # fmt: skip
    completion.add_reference(one, KINDS)
    one.add_argument("--against", metavar="ARM", help="alternative to show beside the tuned model; default: the best")
    one.add_argument("--all", action="store_true", help=f"all questions, not the first {answers_page.FIRST}")
    one.add_argument("--full", action="store_true", help="whole texts, and all turns of a question")
    add_output(one, ("text", "json"), "json: everything, one line for each question")
    oci_registry.add_options(one, "Where the answers lie")
