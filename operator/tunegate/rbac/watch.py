"""Looks again and again at who holds which power, and records what changed.

RBAC is the platform's own: nothing is held back. But who could have impersonated somebody at a time, or read the keys, is
asked long after the binding is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from tunegate.api.conditions import rfc3339
from tunegate.kube.client import KubeClient
from tunegate.ledger.entry import OPERATOR, AuditEntry
from tunegate.ledger.writer import LedgerWriter
from tunegate.rbac.holders import EVENT, Holders, holders, in_words, payloads, replayed, subject_of
from tunegate.rbac.rights import Rights, grants

API = "rbac.authorization.k8s.io/v1"
KINDS = ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding")


class PowerWatch:
    """One look at a time. ``held`` is what the last one found."""

    def __init__(self, kube: KubeClient, ledger: LedgerWriter, *, system: str, namespaces: Sequence[str]) -> None:
        """``system`` is the operator's namespace, ``namespaces`` are the governed ones."""
        self._kube = kube
        self._ledger = ledger
        self._system = system
        self._namespaces = tuple(namespaces)
        self._subject = subject_of(system)
        self._looked: datetime | None = None
        self.held: Holders = {}

    async def look(self, now: datetime) -> list[str]:
        """Compare with what the ledger knows, record what changed, and return it in words.

        Raises ``Transient`` or ``Terminal`` when the API server or the ledger cannot be asked.
        """
        roles = [await self._kube.list(API, kind) for kind in KINDS]
        rights = Rights(grants(*roles))
        found = await asyncio.to_thread(holders, rights, self._system, self._namespaces)
        records = await self._ledger.of_subject(self._subject.uid)
        # After a start nobody knows when the process before looked last.
        since = rfc3339(self._looked) if self._looked else records[-1].time if records else ""
        last = records[-1].event_id if records else ""
        told = []
        for payload in payloads(replayed(one.to_dict() for one in records), found, since):
            record = await self._ledger.append(AuditEntry(EVENT, OPERATOR, self._subject, last, payload))
            last = record.event_id
            told.append(in_words(payload))
        self._looked, self.held = now, found
        return told
