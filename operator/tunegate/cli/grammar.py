"""How commands are declared: a name, what runs, what it is for, and examples that work as they stand."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from tunegate import __version__
from tunegate.cli.cluster import Cluster

PROGRAM, PLUGIN = "tunegate", "kubectl-tunegate"
EXAMPLES = "examples:"
Command = Callable[[Namespace], int]
"""Runs with the options and returns the exit status."""


class _Help(argparse.HelpFormatter):
    """Wraps text, and leaves examples as they are, so that they can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLES) else super()._fill_text(text, width, indent)


class Grammar:
    """A set of commands: those of the program, or those below a verb such as `audit`."""

    def __init__(self, parser: ArgumentParser, metavar: str) -> None:
        self._program = _program_name()
        self._commands = parser.add_subparsers(required=True, metavar=metavar)

    def add(
        self, name: str, command: Command, text: str, *, examples: Sequence[str], connects: bool = True
    ) -> ArgumentParser:
        """Add a command and return its parser.

        ``examples`` leave out the program's name. ``connects``: takes the options that name cluster and namespace.
        """
        shown = "\n".join(f"  {self._program} {one}" for one in examples)
        parser: ArgumentParser = self._commands.add_parser(
            name, help=text, description=_sentence(text), epilog=f"{EXAMPLES}\n{shown}",
            formatter_class=_Help,
        )  # fmt: skip
        if connects:
            add_connection(parser, default=argparse.SUPPRESS)
        parser.set_defaults(command=command)
        return parser

    def group(self, name: str, text: str) -> Grammar:
        """Add a verb with commands of its own."""
        parser = self._commands.add_parser(name, help=text, description=_sentence(text))
        add_connection(parser, default=argparse.SUPPRESS)
        return Grammar(parser, "WHAT")


def program() -> ArgumentParser:
    """Return the program's parser, without commands: with the options that all commands share."""
    top = ArgumentParser(prog=_program_name(), description="Governed fine-tuning: create, look, review, verify.")
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    add_connection(top, default=None)
    return top


def add_connection(parser: ArgumentParser, default: object) -> None:
    """Add the options that name cluster and namespace. After the command's name they must not overwrite what came before it."""
    parser.add_argument("-n", "--namespace", default=default, help="default: that of the kubeconfig's context")
    parser.add_argument("--kubeconfig", default=default)
    parser.add_argument("--context", default=default)
    parser.add_argument("--as", dest="as_", metavar="USER", default=default, help="impersonate (needs the right to)")
    parser.add_argument("--as-group", action="append", metavar="GROUP", default=default)


def on_cluster(command: Callable[[Cluster, Namespace], int]) -> Command:
    """Return the command with the connection that its options name."""
    return lambda options: command(Cluster.of(options), options)


def add_output(parser: ArgumentParser, formats: Sequence[str], text: str | None = None) -> None:
    """Add `-o`, which is a format everywhere; the first is the default."""
    programs = [one for one in formats if one in ("json", "yaml")]
    text = text or f"{' and '.join(programs)} {'is' if len(programs) == 1 else 'are'} for programs"
    parser.add_argument("-o", "--output", choices=formats, default=formats[0], help=text)


def _program_name() -> str:
    """Return what the person typed: the program, or kubectl with its plugin."""
    plugin = Path(sys.argv[0]).name.startswith(PLUGIN)
    return PLUGIN.replace("-", " ") if plugin else PROGRAM


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
