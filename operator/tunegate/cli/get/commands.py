"""`get` and what it takes."""

from __future__ import annotations

from tunegate.cli import completion, screen
from tunegate.cli.get import listing
from tunegate.cli.grammar import Grammar, add_output, on_cluster

FORMATS = (*screen.FORMATS, "wide", "name")
LISTS = (
    ("releases", listing.releases, completion.RELEASES, "releases: how they stand and whom they wait for"),
    ("jobs", listing.jobs, completion.JOBS, "jobs: how they stand and whom they wait for"),
    ("servers", listing.servers, completion.SERVERS, "servers: how they stand and what answers under which name"),
)


def add(commands: Grammar) -> None:
    """Add the commands."""
    kinds = commands.group("get", "list releases, jobs or servers")
    for plural, command, completer, text in LISTS:
        examples = [
            f"get {plural} -n licenses-team", f"get {plural} -A -o wide", f"get {plural} -w", f"get {plural} NAME -o json",
        ]  # fmt: skip
        one = kinds.add(plural, on_cluster(command), f"list {text}", examples=examples)
        completion.completed(one.add_argument("name", nargs="?", metavar="NAME", help="only this one"), completer)
        one.add_argument("-A", "--all-namespaces", action="store_true")
        one.add_argument("-w", "--watch", action="store_true", help="go on, and print what changes")
        add_output(one, FORMATS, "wide: more columns; name: KIND/NAME, as other commands take it; json, yaml: all")
