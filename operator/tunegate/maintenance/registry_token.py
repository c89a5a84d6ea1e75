"""`python -m tunegate.maintenance.registry_token`: a read token for people, printed as Docker configuration.

The chart's registry knows no passwords. An auditor or a mirror gets a token for named repositories and a few hours from
whoever may run a command in the operator's pod, which holds the signing key.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tunegate import settings
from tunegate.registry.tokens import Access, TokenSigner, mint

LONGEST_HOURS = 24 * 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the configuration; 1 when this operator has no registry of its own."""
    options = _parser().parse_args(arguments)
    told = settings.from_environment()
    if told.registry_token_key is None or told.registry_token_cert is None:
        print(f"{told.registry_host} is not the chart's registry: ask its owner for a credential", file=sys.stderr)
        return 1
    signer = TokenSigner.from_files(told.registry_token_key, told.registry_token_cert)
    access = [Access(repository, ("pull",)) for repository in options.pull]
    lifetime = timedelta(hours=options.hours)
    sys.stdout.write(
        mint(
            signer,
            options.host or told.registry_host,
            access,
            subject=options.person,
            lifetime=lifetime,
            now=datetime.now(UTC),
        )
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tunegate.maintenance.registry_token", description=__doc__)
    parser.add_argument("--pull", action="append", required=True, metavar="REPOSITORY")
    parser.add_argument("--person", required=True, help="who gets it: shows in the registry's log")
    parser.add_argument("--host", metavar="HOST:PORT", help="as they reach the registry; default: as pods do")
    parser.add_argument("--hours", type=int, default=8, choices=range(1, LONGEST_HOURS + 1), metavar="HOURS")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
