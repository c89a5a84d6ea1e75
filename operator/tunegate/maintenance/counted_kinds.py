"""`python -m tunegate.maintenance.counted_kinds`: waits until Kubernetes counts the kinds that the chart's quotas bound.

Kubernetes looks for new kinds to count every 30 seconds, and it counts for a quota that existed before only minutes later.
Until then the API server refuses every object that the quota concerns ("status unknown for quota"). The chart runs this
before it makes its quotas: a probe quota is made again and again until it is counted at once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from tunegate.errors import Terminal, Transient
from tunegate.kube.client import AlreadyExists, KubeClient, ObjectRef

PROBE = "tunegate-counted-kinds"
WITHIN_SECONDS = 180.0
COUNTED_SECONDS = 3.0
"""How long a probe is looked at. What Kubernetes knows it counts within a second."""
LOOK_SECONDS = 0.25


class CountedKinds:
    """A probe quota in the namespace of the installation, where nobody makes objects of these kinds."""

    def __init__(self, kube: KubeClient, namespace: str, kinds: Sequence[str]) -> None:
        self._kube = kube
        self._ref = ObjectRef("v1", "ResourceQuota", PROBE, namespace)
        self._hard = {f"count/{kind}": "0" for kind in kinds}

    async def wait(self, seconds: float = WITHIN_SECONDS) -> None:
        """Return as soon as a new quota is counted. Raises ``Terminal`` ``KindsNotCounted`` after ``seconds``."""
        missing = set(self._hard)
        try:
            async with asyncio.timeout(seconds):
                while missing := await self._uncounted():
                    pass
        except TimeoutError:
            message = (
                f"Kubernetes does not count {', '.join(sorted(missing))} after {seconds:.0f} s: read the log of "
                "kube-controller-manager (resource quota controller), or set quotas.perNamespace={} to go without such bounds"
            )
            raise Terminal("KindsNotCounted", message) from None
        finally:
            await self._kube.delete(self._ref)

    async def _uncounted(self) -> set[str]:
        """Make the probe again and return what of it is not counted."""
        await self._kube.delete(self._ref)
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        probe = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": self._hard}}
        try:
            await self._kube.create(probe)
        except AlreadyExists:  # The one before is still being deleted.
            await asyncio.sleep(LOOK_SECONDS)
            return set(self._hard)
        uncounted = set(self._hard)
        for _ in range(int(COUNTED_SECONDS / LOOK_SECONDS)):
            live: dict[str, Any] = await self._kube.get(self._ref) or {}
            if not (uncounted := set(self._hard) - set(live.get("status", {}).get("used", {}))):
                break
            await asyncio.sleep(LOOK_SECONDS)
        return uncounted


async def _wait(options: argparse.Namespace) -> None:
    async with await KubeClient.connect(options.kubeconfig) as kube:
        await CountedKinds(kube, options.namespace, options.kind).wait(options.seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait; 1 when the kinds are not counted in time or the API server cannot be asked."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_wait(options))
    except (Transient, Terminal) as error:
        print(f"quotas would not be counted: {error.message}", file=sys.stderr)
        return 1
    print(f"counted: {', '.join(options.kind)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tunegate.maintenance.counted_kinds", description=__doc__)
    parser.add_argument("--namespace", required=True, help="where Tunegate is installed")
    parser.add_argument("--kind", action="append", required=True, metavar="PLURAL.GROUP", help="a kind that is bounded")
    parser.add_argument("--seconds", type=float, default=WITHIN_SECONDS, help="how long to wait (%(default).0f)")
    parser.add_argument("--kubeconfig", help="absent: the pod's own service account")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
