"""`describe` and `who`, and what they take."""

from __future__ import annotations

from tunegate.cli import completion, oci_registry, screen, times
from tunegate.cli.describe import describe, who
from tunegate.cli.grammar import Grammar, add_output, on_cluster
from tunegate.cli.reference import JOB, RELEASE, SERVER

KINDS = (RELEASE, JOB, SERVER)


def add(commands: Grammar) -> None:
    """Add the commands."""
    one = commands.add(
        "describe", on_cluster(describe.describe), "show one release, job or server in full: the page to decide on",
        examples=["describe release/holders-1 -n licenses-team", "describe job/holders-1", "describe server/licenses"],
    )  # fmt: skip
    completion.add_reference(one, KINDS)
    add_output(one, screen.FORMATS)
    oci_registry.add_options(one, "Of a release also findings and statement are read there, verified")

    one = commands.add(
        "who", on_cluster(who.who),
        "tell what data, base, evaluation, people and bytes are behind a name that clients use",
        examples=["who holders -n licenses-team", "who holders-1-1a2b3c4d --at 2026-11-24T12:00:00Z"],
    )  # fmt: skip
    name = one.add_argument(
        "name", metavar="NAME", help="route, served name (header X-Tunegate-Served-Name) or release"
    )
    completion.completed(name, completion.answering)
    one.add_argument("--at", metavar="TIME", type=times.moment, help="then instead of now; from the ledger")
    add_output(one, screen.FORMATS)
