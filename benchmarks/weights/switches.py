"""How many requests are lost while a route's weights change 1,000 times under load: a gateway process and an instant engine."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.gateway.standins import apart
from tests.gateway.switching import ask_while_weights_change


async def measure(switches: int, clients: int) -> None:
    """Print one row of the table."""
    with tempfile.TemporaryDirectory(prefix="tunegate-weights-") as folder:
        async with apart(Path(folder)) as stage:
            found = await ask_while_weights_change(stage, switches, clients)
    p50, p99 = (f"{1000 * found.quantile(share):.1f}" for share in (0.5, 0.99))
    print(
        f"| {found.switches} | {clients} | {len(found.seconds)} | {len(found.failures)} | {len(found.strangers)} | {p50} | {p99} |"
    )
    for failure in found.failures[:5]:
        print(failure)


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--switches", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    asyncio.run(measure(options.switches, options.clients))


if __name__ == "__main__":
    main()
