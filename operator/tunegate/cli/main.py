"""The program: all commands, and how each of them ends."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from tunegate.cli import access, completion, screen, version
from tunegate.cli.audit import commands as audit
from tunegate.cli.create import commands as create
from tunegate.cli.decide import commands as decide
from tunegate.cli.describe import commands as describe
from tunegate.cli.doctor import commands as doctor
from tunegate.cli.failure import CommandFailure, Forbidden, WrongUsage
from tunegate.cli.follow import commands as follow
from tunegate.cli.get import commands as get
from tunegate.cli.grammar import Command, Grammar, program
from tunegate.cli.inspect import commands as inspect
from tunegate.cli.jobs import commands as jobs
from tunegate.cli.login import commands as login
from tunegate.cli.mlflow import commands as mlflow
from tunegate.cli.plan import commands as plan
from tunegate.cli.pushed import commands as pushed
from tunegate.cli.serve import commands as serve

FAILED, WRONG_USAGE, INTERRUPTED, NOBODY_READS = 1, 2, 130, 141
"""Exit statuses that every command has; 0 is done. Further ones are in a command's help."""
LONGEST_MESSAGE = 8000
"""Characters of an error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, closed the pipe. Python would report that again when it flushes the stream at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS


def kubectl_complete() -> int:
    """Complete `kubectl tunegate …`: the program that kubectl looks for."""
    return completion.kubectl_complete(parser(), sys.argv[1:])


def parser() -> ArgumentParser:
    """Return the command line's grammar."""
    top = program()
    commands = Grammar(top, "COMMAND")
    login.add(commands)
    get.add(commands)
    describe.add(commands)
    create.add(commands)
    plan.add(commands)
    follow.add(commands)
    jobs.add(commands)
    mlflow.add(commands)
    serve.add(commands)
    decide.add(commands)
    inspect.add(commands)
    pushed.add(commands)
    audit.add(commands)
    access.add(commands)
    doctor.add(commands)
    version.add(commands)
    completion.add(commands)
    return top


def _run(arguments: Sequence[str] | None) -> int:
    grammar = parser()
    completion.complete(grammar)
    options = grammar.parse_args(arguments)
    command: Command = options.command
    try:
        status = command(options)
        sys.stdout.flush()
        return status
    except CommandFailure as error:
        text = f"tunegate: {_bounded(str(error))}{_hint(error, options)}"
        print("\n".join(map(screen.shown, text.split("\n"))), file=sys.stderr)
        return WRONG_USAGE if isinstance(error, WrongUsage) else FAILED


def _bounded(text: str) -> str:
    """Return a message without its middle when it repeats something long, such as a file that is no YAML."""
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE // 2]} … {text[-LONGEST_MESSAGE // 2 :]}"


def _hint(error: CommandFailure, options: Namespace) -> str:
    """Return what to do for anyone who named no namespace and may not look into that of the kubeconfig."""
    unnamed = isinstance(error, Forbidden) and not options.namespace and "in the namespace" in str(error)
    return ". If you mean another namespace: name it with -n" if unnamed else ""
