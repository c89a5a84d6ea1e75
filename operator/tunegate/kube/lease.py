"""Lease: which of several operator processes acts.

The lock of ``kubernetes.aio`` 37 never acquires (it fails its own validation), so this is our own, with the rules of
client-go's leader election: the time on the Lease is never compared with our clock; what counts is for how long we have
not seen it change. Once ``held`` is false no request that changes anything begins. One that was under way may still arrive;
server-side apply and deterministic names make that safe.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tunegate.errors import Terminal, Transient
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.logs import event

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another process may act now: this one must stop at once."""


@dataclass
class Lease:
    """One process's view of a Lease. All times in seconds."""

    kube: KubeClient
    namespace: str
    name: str
    identity: str
    duration: float = 15.0
    renew_deadline: float = 10.0
    pause: float = 2.0
    clock: Callable[[], float] = time.monotonic
    _seen: tuple[str, float] | None = field(default=None, init=False)
    _renewed: float | None = field(default=None, init=False)

    def held(self) -> bool:
        """Tell whether this process may write: it renewed the Lease within ``renew_deadline`` and nobody took it."""
        return self._renewed is not None and self.clock() - self._renewed < self.renew_deadline

    async def acquire(self) -> None:
        """Return once this process holds the Lease. Errors of the API server are logged and tried again."""
        while True:
            try:
                if await self._try():
                    logger.info(
                        "lease %s/%s is held by %s",
                        self.namespace,
                        self.name,
                        self.identity,
                        extra=event("LeaseHeld", namespace=self.namespace, lease=self.name, holder=self.identity),
                    )
                    return
            except (Transient, Terminal) as error:
                logger.warning("lease cannot be taken: %s", error, extra=event("LeaseNotTaken", error=error))
            await asyncio.sleep(self.pause)

    async def keep(self) -> None:
        """Renew forever. Raises ``LeaseLost`` when that fails for ``renew_deadline`` or another process holds it."""
        while True:
            await asyncio.sleep(self.pause)
            renewed = self._renewed if self._renewed is not None else self.clock()
            try:
                async with asyncio.timeout(max(0.1, renewed + self.renew_deadline - self.clock())):
                    if not await self._try():
                        raise LeaseLost(f"another process holds the lease {self.namespace}/{self.name}")
            except LeaseLost:
                self._renewed = None
                raise
            except Exception as error:
                # A surprise, as a Lease of another form, is no more than a renewal that failed.
                text = f"{type(error).__name__}: {error}"
                logger.warning("lease cannot be renewed: %s", text, extra=event("LeaseNotRenewed", error=text))
                if not self.held():
                    raise LeaseLost(f"the lease was not renewed for {self.renew_deadline:g} s") from error

    async def release(self) -> None:
        """Give the Lease up, so that a standby takes over at once. Best effort."""
        self._renewed = None
        try:
            lease = await self.kube.get(self._ref)
            if lease is not None and lease["spec"].get("holderIdentity") == self.identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time()}
                await self.kube.replace(lease)
        except (Transient, Terminal) as error:
            logger.warning("lease cannot be released: %s", error, extra=event("LeaseNotReleased", error=error))

    @property
    def _ref(self) -> ObjectRef:
        return ObjectRef("coordination.k8s.io/v1", "Lease", self.name, self.namespace)

    async def _try(self) -> bool:
        """Take or renew the Lease if it is ours or free; return whether we hold it."""
        started = self.clock()
        lease = await self.kube.get(self._ref)
        if lease is None:
            await self.kube.create(
                {
                    "apiVersion": self._ref.api_version,
                    "kind": "Lease",
                    "metadata": {"name": self.name, "namespace": self.namespace},
                    "spec": self._spec({}),
                }
            )
        elif self._is_free(lease):
            lease["spec"] = self._spec(lease.get("spec") or {})
            await self.kube.replace(lease)
        else:
            return False
        self._renewed = started
        return True

    def _is_free(self, lease: dict[str, Any]) -> bool:
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, self.clock())
        expired = self.clock() - self._seen[1] > float(spec.get("leaseDurationSeconds") or self.duration)
        return holder in ("", self.identity) or expired

    def _spec(self, old: dict[str, Any]) -> dict[str, Any]:
        now = _micro_time()
        mine = old.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self.duration),
            "renewTime": now,
            "acquireTime": old.get("acquireTime") if mine else now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if mine else 1),
        }


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
