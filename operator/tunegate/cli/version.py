"""`tunegate version`."""

from __future__ import annotations

from argparse import Namespace

from tunegate import __version__
from tunegate.api.markers import API_VERSION
from tunegate.cli import screen
from tunegate.cli.grammar import PROGRAM, Grammar, add_output


def add(commands: Grammar) -> None:
    """Add the command."""
    text = "print the version of this program and of the API that it speaks"
    one = commands.add("version", version, text, examples=["version", "version -o json"], connects=False)
    add_output(one, screen.FORMATS)


def version(options: Namespace) -> int:
    """Print the version."""
    if options.output == "text":
        print(f"{PROGRAM} {__version__}, {API_VERSION}")
    else:
        screen.write({"version": __version__, "apiVersion": API_VERSION}, options.output)
    return 0
