"""`data push|list|show|delete`, `documents push|list|show|delete`, and what they take."""

from __future__ import annotations

from functools import partial
from typing import get_args

from tunegate.api.markers import DataClass
from tunegate.api.pushed import PushedKind
from tunegate.cli import exchange
from tunegate.cli.grammar import Grammar, add_output
from tunegate.cli.pushed import listing, push

VERBS: dict[PushedKind, tuple[str, str]] = {
    "datasets": ("data", "training data in the registry: push it, see what is there, withdraw it"),
    "documents": ("documents", "documents for baseline.documents in the registry: push, see, withdraw them"),
    "questions": (
        "questions",
        "questions of suites in the registry, where `create suite` pushes them: see, withdraw them",
    ),
}


def add(commands: Grammar) -> None:
    """Add the commands."""
    for kind, (verb, text) in VERBS.items():
        _add_verb(commands.group(verb, text), verb, kind)


def _add_verb(parts: Grammar, verb: str, kind: PushedKind) -> None:
    uri = f"oci://licenses-team/{kind}/notices@sha256:DIGEST"
    if kind != "questions":
        _add_push(parts, verb, kind)
    _add_others(parts, verb, kind, uri)


def _add_push(parts: Grammar, verb: str, kind: PushedKind) -> None:
    file, field = ("train.jsonl", "dataset.uri") if kind == "datasets" else ("manual.md", "baseline.documents.uri")
    declared = "--classification Internal --license CC-BY-4.0 --source 'notices of 2025' --steward licenses-team"
    one = parts.add(
        "push", partial(push.push, kind), f"bring files into the registry and print the address for {field}",
        examples=[f"{verb} push {file} --name notices {declared} -n licenses-team"],
    )  # fmt: skip
    one.add_argument("files", nargs="+", metavar="FILE", help="files, or one folder with everything in it")
    one.add_argument("--name", help="lower-case letters, digits and hyphens; default: the first file's name")
    one.add_argument("--classification", required=True, choices=get_args(DataClass))
    one.add_argument("--license", required=True, help="SPDX expression or the name of the contract")
    one.add_argument("--source", required=True, help="where the content came from")
    one.add_argument("--steward", required=True, help="who answers for it")
    one.add_argument("--expires", metavar="YYYY-MM-DD", help="last day on which it may be used; default: none")
    if kind == "datasets":
        one.add_argument("--unchecked", action="store_true", help="push rows even if their form is wrong")
    add_output(one, ("uri", "yaml", "json"), "yaml: the part of a job to paste; json: everything that is recorded")
    exchange.add_options(one)


def _add_others(parts: Grammar, verb: str, kind: PushedKind, uri: str) -> None:
    one = parts.add(
        "list", partial(listing.list_all, kind), "list what was pushed and what was declared of it",
        examples=[f"{verb} list -n licenses-team", f"{verb} list notices -o json"],
    )  # fmt: skip
    one.add_argument("name", nargs="?", default="", metavar="NAME", help="only what has this name")
    add_output(one, ("text", "json", "yaml"))
    exchange.add_options(one)

    one = parts.add(
        "show",
        partial(listing.show, kind),
        "show everything that is recorded of one push",
        examples=[f"{verb} show {uri}"],
    )
    one.add_argument("uri", metavar="URI")
    add_output(one, ("text", "json", "yaml"))
    exchange.add_options(one)

    one = parts.add(
        "delete", partial(listing.delete, kind), "withdraw a push: no job begins a stage with it any more",
        examples=[f"{verb} delete {uri} --yes"],
    )  # fmt: skip
    one.add_argument("uri", metavar="URI")
    one.add_argument("--yes", action="store_true", help="do not ask")
    exchange.add_options(one)
