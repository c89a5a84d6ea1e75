"""`tunegate version`."""

from __future__ import annotations

from argparse import Namespace
from importlib.resources import files

from tunegate import __version__
from tunegate.api.markers import API_VERSION
from tunegate.cli import screen
from tunegate.cli.grammar import PROGRAM, Grammar, add_output


def add(commands: Grammar) -> None:
    """Add the command."""
    text = "print the version and commit of this program, and the API that it speaks"
    one = commands.add("version", version, text, examples=["version", "version -o json"], connects=False)
    add_output(one, screen.FORMATS)


def version(options: Namespace) -> int:
    """Print the version."""
    found = commit()
    if options.output == "text":
        print(
            f"{PROGRAM} {__version__}, {f'commit {found}' if found else 'not installed from a commit'}, {API_VERSION}"
        )
    else:
        screen.write({"version": __version__, "commit": found, "apiVersion": API_VERSION}, options.output)
    return 0


def commit() -> str | None:
    """Return the commit that the wheel was built from, with `+changes` behind it when the checkout had some.

    None for a program that runs from a checkout, or that was built without git.
    """
    file = files("tunegate") / "commit.txt"
    return file.read_text().strip() if file.is_file() else None
