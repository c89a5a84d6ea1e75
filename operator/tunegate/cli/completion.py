"""Shell completion: `completion SHELL` prints the script; names of releases, jobs and the like come from the cluster.

A shell that asks for names must never wait for a login or print an error between what somebody types: whatever fails
completes to nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

import argcomplete
from argcomplete.shell_integration import shellcode

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.markers import Resource
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.cli.cluster import Cluster
from tunegate.cli.failure import CommandFailure
from tunegate.cli.grammar import PLUGIN, PROGRAM, Grammar
from tunegate.cli.reference import MODELS, RELEASE, expected, reference_to

SHELLS = ("bash", "zsh", "fish")
NO_FILES = 4
"""What kubectl wants to read after a plugin's candidates: do not fall back to files (cobra's ShellCompDirectiveNoFileComp)."""
Completer = Callable[..., list[str]]


def add(commands: Grammar) -> None:
    """Add the command."""
    one = commands.add(
        "completion", completion, "print the script that completes commands and names in a shell", connects=False,
        examples=["completion bash > /etc/bash_completion.d/tunegate", "completion fish | source"],
    )  # fmt: skip
    one.add_argument("shell", choices=SHELLS)


def completion(options: Namespace) -> int:
    """Print the script that makes a shell complete `tunegate`."""
    print(shellcode([PROGRAM, PLUGIN], shell=options.shell))
    return 0


def complete(grammar: ArgumentParser) -> None:
    """Answer the shell and exit, when it is a shell that asks."""
    argcomplete.autocomplete(grammar)


def kubectl_complete(grammar: ArgumentParser, arguments: list[str]) -> int:
    """Answer kubectl, which runs `kubectl_complete-tunegate` with the words that were typed after `kubectl tunegate`."""
    line = shlex.join([PROGRAM, *arguments[:-1]]) + " " + (arguments[-1] if arguments else "")
    os.environ.update(_ARGCOMPLETE="1", _ARGCOMPLETE_IFS="\n", _ARGCOMPLETE_SUPPRESS_SPACE="1",
                      COMP_LINE=line, COMP_POINT=str(len(line)))  # fmt: skip
    found = io.TextIOWrapper(io.BytesIO(), write_through=True)

    def ended(_: int = 0) -> None:
        raise _Answered

    with contextlib.suppress(_Answered):
        argcomplete.autocomplete(grammar, output_stream=found, exit_method=ended)
    found.seek(0)
    sys.stdout.write("".join(f"{one}\n" for one in found.read().split("\n") if one) + f":{NO_FILES}\n")
    return 0


def completed(argument: Action, completer: Completer) -> None:
    """Have the values of an argument completed."""
    argument.completer = completer  # type: ignore[attr-defined]


def add_reference(
    parser: ArgumentParser,
    kinds: tuple[str, ...],
    name: str = "subject",
    metavar: str = "KIND/NAME",
    *,
    optional: bool = False,
) -> None:
    """Add an argument that names an object of these kinds, and is completed."""
    number = "?" if optional else None
    argument = parser.add_argument(name, metavar=metavar, type=reference_to(*kinds), help=expected(kinds), nargs=number)
    completed(argument, references_to(*kinds))


def _names(parsed_args: Namespace, model: type[Resource]) -> list[str]:
    """Return the names of a kind in the namespace that was typed, else in that of the kubeconfig."""
    try:
        cluster = Cluster.of(parsed_args)
        return [one.name for one in cluster.all(model, parsed_args.namespace or cluster.namespace)]
    except CommandFailure:
        return []


def names_of(model: type[Resource]) -> Completer:
    """Return a completer of a kind's names."""

    def names(prefix: str, parsed_args: Namespace, **_: Any) -> list[str]:
        return sorted(name for name in _names(parsed_args, model) if name.startswith(prefix))

    return names


def references_to(*kinds: str) -> Completer:
    """Return a completer of `KIND/NAME`, and of the bare names of releases."""

    def references(prefix: str, parsed_args: Namespace, **_: Any) -> list[str]:
        typed, slash = prefix.rpartition("/")[:2]
        if slash:
            found = [f"{typed}/{name}" for name in (_names(parsed_args, MODELS[typed]) if typed in kinds else ())]
        else:
            found = [*(f"{kind}/" for kind in kinds), *(_names(parsed_args, ModelRelease) if RELEASE in kinds else ())]
        return sorted(one for one in found if one.startswith(prefix))

    return references


RELEASES, JOBS, SERVERS = names_of(ModelRelease), names_of(FineTuneJob), names_of(ModelServer)


def answering(prefix: str, parsed_args: Namespace, **_: Any) -> list[str]:
    """Complete what `who` takes: routes and served names."""
    try:
        cluster = Cluster.of(parsed_args)
        servers = cluster.all(ModelServer, parsed_args.namespace or cluster.namespace)
    except CommandFailure:
        return []
    names = {name for one in servers for route in one.status.routes for name in (route.name, *route.served_names)}
    return sorted(name for name in names if name.startswith(prefix))


class _Answered(Exception):
    """Ends argcomplete where it would end the process."""
