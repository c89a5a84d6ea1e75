"""Entry point of the containers: `python -m tunegate operator`, `… exchange`; in serving pods `… check-base`, `… adapters` and `… gateway`,
each with `--config-digest D`.

The registry's pod runs `python -m tunegate registry-volume`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from importlib import import_module

COMMANDS = {
    "operator": "tunegate.runtime.operator",
    "gateway": "tunegate.gateway.app",
    "check-base": "tunegate.serving.check",
    "adapters": "tunegate.serving.sidecar",
    "exchange": "tunegate.exchange.app",
    "registry-volume": "tunegate.registry_volume",
}
"""Each module is imported only when it is asked for: the gateway needs no kopf, the check of a base model no aiohttp."""


CONFIG_DIGEST_FLAG = "--config-digest"
CONFIGURED = ("gateway", "check-base", "adapters")
"""Commands that read a mounted ConfigMap: its digest has to stand in the pod's own template."""


def main(arguments: list[str]) -> int:
    """Run one command; it reads its settings from the environment and from mounted files."""
    command, *further = arguments or [""]
    expected = [CONFIG_DIGEST_FLAG] if command in CONFIGURED else []
    if command not in COMMANDS or further[:1] != expected or len(further) != 2 * len(expected):
        print(f"usage: python -m tunegate {_usage()}", file=sys.stderr)
        return 2
    run: Callable[..., int | None] = import_module(COMMANDS[command]).main
    return run(*further[1:]) or 0


def _usage() -> str:
    return " | ".join(f"{name} {CONFIG_DIGEST_FLAG} sha256:…" if name in CONFIGURED else name for name in COMMANDS)


def _stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    # The first process of a container gets no SIGTERM that it has no handler for. Commands with something to finish set
    # their own.
    signal.signal(signal.SIGTERM, _stop)
    raise SystemExit(main(sys.argv[1:]))
