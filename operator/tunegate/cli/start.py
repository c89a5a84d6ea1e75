"""Where the program begins: the whole command line, or the one command that kubectl runs before each of its requests."""

from __future__ import annotations

import sys

CREDENTIAL = "credential"


def main() -> int:
    """Run what was typed. To load all commands takes a second, which `credential` alone does not."""
    if sys.argv[1:2] == [CREDENTIAL]:
        from tunegate.cli.login.credential import main as credential

        return credential(sys.argv[2:])
    from tunegate.cli.main import main as run

    return run()
