"""What pods of a governed namespace need to reach the registry: the authorities that they trust.

The operator hands on what lies in its own mounted file: the chart cannot write it, since the authority is made after the
manifest. The object carries the operator's label, so that the admission rules let nobody else change whom pods trust.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from tunegate.api.markers import MANAGED_BY_LABEL
from tunegate.controllers.bringing import record
from tunegate.controllers.ownership import Ownership
from tunegate.controllers.services import Ledger
from tunegate.errors import Terminal, Transient, Waiting
from tunegate.kube.client import KubeClient
from tunegate.ledger.entry import AuditSubject
from tunegate.logs import event
from tunegate.reconcile.naming import CA_CONFIG_MAP, MANAGED_BY
from tunegate.settings import Settings

logger = logging.getLogger(__name__)

MANAGER = "tunegate-supplies"
KEEP = {"helm.sh/resource-policy": "keep"}
"""Older charts owned this object. Without this annotation, Helm may delete it on upgrade."""
RETRY_SECONDS = 10.0
Json = dict[str, Any]


class NamespaceAuthorities:
    """Keeps the ConfigMap of authorities in each governed namespace as it should be."""

    def __init__(self, kube: KubeClient, settings: Settings, ledger: Ledger) -> None:
        self._ownership = Ownership(kube)
        self._settings = settings
        self._ledger = ledger

    async def run(self) -> None:
        """Deliver again and again: at each resync, and soon where it failed."""
        delivered = False
        while True:
            await asyncio.sleep(self._settings.resync_seconds if delivered else RETRY_SECONDS)
            delivered = await self.try_deliver()

    async def try_deliver(self) -> bool:
        """Deliver to every namespace and tell whether all of it worked; one that fails holds up no other."""
        failed = False
        for namespace in self._settings.namespaces:
            try:
                await self.deliver(namespace)
            except (Transient, Terminal, Waiting) as error:
                failed = True
                logger.warning(
                    "pods of %s may not reach the registry: %s",
                    namespace,
                    error.message,
                    extra=event("AuthorityNotWritten", namespace=namespace, error=error.message),
                )
        return not failed

    async def deliver(self, namespace: str) -> None:
        """Write what pods of the namespace need. Raises ``Transient``, ``Terminal`` or ``Waiting``."""
        # Read each time: a new authority is handed on without a restart.
        authorities = self._settings.ca_file
        data = {} if authorities is None else {"ca.crt": _read(authorities)}
        await self._apply("ConfigMap", CA_CONFIG_MAP, namespace, {"data": data})

    async def _apply(self, kind: str, name: str, namespace: str, content: Json) -> None:
        labels = {"app.kubernetes.io/name": "tunegate", MANAGED_BY_LABEL: MANAGED_BY}
        metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": KEEP}
        obj = {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}
        done = await self._ownership.apply(obj, manager=MANAGER)
        if done.finding is not None:
            await record(self._ledger, AuditSubject("Namespace", "", namespace, f"namespace-{namespace}"), done.finding)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise Transient(f"{path} cannot be read: {error.strerror}") from error
