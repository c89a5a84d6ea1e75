"""`python -m tunegate.maintenance.epoch`: lets a ledger go on that was restored from a backup and is behind its anchors.

Run by the platform team in the operator's pod, which alone may append and alone holds the key. What is lost, as far as the
anchors know it, is recorded forever.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from tunegate import settings
from tunegate.errors import Terminal, Transient
from tunegate.kube.client import KubeClient
from tunegate.ledger.epoch import read_epoch
from tunegate.ledger.seal import read_seal
from tunegate.runtime import ledger_parts
from tunegate.runtime.services import tracking_of
from tunegate.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Begin an epoch; 1 when nothing is lost, or when it is no restored backup that the anchors contradict."""
    parser = argparse.ArgumentParser(prog="python -m tunegate.maintenance.epoch", description=__doc__)
    parser.add_argument("--by", required=True, metavar="NAME", help="who decided it; recorded, not proven")
    parser.add_argument("--reason", required=True, help="what happened; recorded forever")
    options = parser.parse_args(arguments)
    try:
        print(asyncio.run(_begin(settings.from_environment(), options.by, options.reason)))
    except (Transient, Terminal) as error:
        print(f"no epoch was begun: {error.message}", file=sys.stderr)
        return 1
    return 0


async def _begin(site: Settings, by: str, reason: str) -> str:
    ring = ledger_parts.keys(site)
    if ring is None:
        raise Terminal("BadSettings", "this operator has no key to sign with: TUNEGATE_LEDGER_KEYS is not set")
    async with await KubeClient.connect(site.kubeconfig) as kube:
        ledger = ledger_parts.writer(kube, ledger_parts.places(site, tracking_of(site), ring), ring)
        record = await ledger.begin_epoch(ring, reason, by)
    return str(read_epoch(read_seal(record.payload["envelope"]), record.payload["anchor"]))


if __name__ == "__main__":
    raise SystemExit(main())
