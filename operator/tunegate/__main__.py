"""Entry point of the containers: `python -m tunegate operator|gateway|pull`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from importlib import import_module

COMMANDS = {
    "operator": "tunegate.runtime.operator",
    "gateway": "tunegate.gateway.app",
    "pull": "tunegate.serving.pull",
}
"""Each module is imported only when it is asked for: the gateway's image part needs no kopf, the puller no aiohttp."""


def main(arguments: list[str]) -> int:
    """Run one command; it reads its settings from the environment and from mounted files."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python -m tunegate {{{'|'.join(COMMANDS)}}}", file=sys.stderr)
        return 2
    command: Callable[[], int | None] = import_module(COMMANDS[arguments[0]]).main
    return command() or 0


def _stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    # The first process of a container gets no SIGTERM that it has no handler for. Commands with something to finish set
    # their own.
    signal.signal(signal.SIGTERM, _stop)
    raise SystemExit(main(sys.argv[1:]))
