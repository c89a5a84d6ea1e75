"""Looks at the admission rules again and again, and holds back what rests on them while they are not in force.

Every step towards serving is recorded before it is taken, so holding back its record holds back the step. What takes
something away needs no rule: rejecting, revoking and closing routes go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tunegate.admission.rules import (
    API,
    DEFINITION,
    DEFINITIONS_API,
    KINDS,
    REPAIR,
    Rule,
    differences,
    fingerprint,
    subject_of,
)
from tunegate.api.auditrecord import AuditRecordSpec, EventType
from tunegate.api.conditions import rfc3339
from tunegate.errors import Terminal, Transient, Waiting
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.ledger.entry import OPERATOR, AuditEntry
from tunegate.ledger.tries import Tries
from tunegate.ledger.writer import LedgerWriter
from tunegate.logs import event
from tunegate.sketch import Sketch

logger = logging.getLogger(__name__)

HELD_BACK: frozenset[EventType] = frozenset(
    {
        "ReleaseApproved",
        "BreakGlassGranted",
        "WaiverGranted",
        "RolloutStarted",
        "AdapterListed",
        "RouteOpened",
        "ShadowOpened",
    }
)
"""Records that let something new happen."""
UNREAD = timedelta(seconds=60)
"""For how long the last look vouches for the rules when they cannot be read."""
AGAIN_SECONDS = 3.0
"""What people ask for before the first look is not trusted, so a look that failed is not put off for long."""
HELD_SECONDS = 15.0
ACTING = timedelta(seconds=10)
"""For so long after a rule was seen it may not act yet: each API server learns of it by a watch of its own."""
SETTLING = timedelta(seconds=30)
"""Longer than a reconcile takes from reading to recording."""
MANAGER = "tunegate-guard"
TEXT = 2000


class Guard:
    """One look at a time. ``frozen`` says why nothing new may happen; None: the rules are in force."""

    def __init__(
        self, kube: KubeClient, ledger: LedgerWriter, expected: Sequence[Rule], *, namespace: str, lease: str
    ) -> None:
        self._kube = kube
        self._ledger = ledger
        self._expected = tuple(expected)
        self._subject = subject_of(namespace)
        self._lease = ObjectRef("coordination.k8s.io/v1", "Lease", lease, namespace)
        self._verified: datetime | None = None
        self._restored: datetime | None = None
        self._lock = asyncio.Lock()
        self.frozen: str | None = "the admission rules have not been looked at yet"

    async def run(self, seconds: float) -> None:
        """Look forever, every so many ``seconds``, and sooner again when nothing could be seen."""
        await self.resume()
        while True:
            seen = await self.try_look()
            await asyncio.sleep(seconds if seen else min(seconds, AGAIN_SECONDS))

    async def try_look(self) -> bool:
        """Look once and tell whether that was possible; what cannot be read is as good as not in force, after a while."""
        try:
            await self.look()
            return True
        except (Transient, Terminal) as error:
            logger.warning(
                "the admission rules cannot be read: %s",
                error.message,
                extra=event("AdmissionRulesUnread", error=error.message),
            )
            if self._verified is None or datetime.now(UTC) - self._verified > UNREAD:
                self._freeze(f"the admission rules cannot be read: {error.message}")
            return False

    async def vouch(self, what: str) -> None:
        """Look now, since a count may rest on what was made a moment ago.

        Raises ``Waiting`` when the rules are not in force, or came into force so lately that the count may not know of
        the time without them; ``Transient`` or ``Terminal`` as ``look`` does.
        """
        await self.look()
        why = self.frozen
        if why is None and self._restored is not None and datetime.now(UTC) - self._restored < SETTLING:
            why = f"they have been in force only since {rfc3339(self._restored)}, and what was created earlier is checked again"
        if why is not None:
            message = f"{what} waits until the admission rules are verified: {why}"
            raise Waiting("RulesNotInForce", message, requeue_after=HELD_SECONDS)

    async def look(self) -> None:
        """Compare once. What was created meanwhile, or before every API server acts by the rules, is not trusted.

        Raises ``Transient`` or ``Terminal`` when the API server or the ledger cannot be asked.
        """
        async with self._lock:
            begun = datetime.now(UTC)
            live = await self._live()
            problems = differences(self._expected, live)
            if problems:
                await self._altered("; ".join(problems)[:TEXT])
            else:
                await self._in_force(fingerprint(self._expected, live), begun)

    async def _live(self) -> list[Mapping[str, Any]]:
        """Read what there is. CRDs by name: a list of all in the cluster is long and takes a right to all of them."""
        names = [rule.name for rule in self._expected if rule.kind == DEFINITION]
        read = (self._kube.get(ObjectRef(DEFINITIONS_API, DEFINITION, name)) for name in names)
        found = [one for one in await asyncio.gather(*read) if one is not None]
        return [*found, *[one for kind in KINDS for one in await self._kube.list(API, kind)]]

    async def _altered(self, problems: str) -> None:
        # Before anything is read of the ledger: it may be gone with its CRD.
        self._freeze(f"{problems}. {REPAIR}")
        records = await self._ledger.of_subject(self._subject.uid)
        last = records[-1] if records else None
        if last is None or last.type != "AdmissionDrift" or last.payload["problems"] != problems:
            since = self._since(records)
            await self._record("AdmissionDrift", f"{since} {problems}", {"problems": problems, "since": since})

    async def _in_force(self, mark: str, begun: datetime) -> None:
        records = await self._ledger.of_subject(self._subject.uid)
        last = records[-1] if records else None
        if last is None or last.type != "AdmissionVerified" or last.payload["fingerprint"] != mark:
            seen = datetime.now(UTC)
            since, until = self._since(records), rfc3339(seen + ACTING)
            payload = {"fingerprint": mark, "since": since, "until": until}
            await self._record("AdmissionVerified", f"{mark} {until}", payload)
            self._restored = seen
        self._verified = begun
        spec = {"holderIdentity": MANAGER, "renewTime": begun.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        metadata = {"name": self._lease.name, "namespace": self._lease.namespace}
        lease = {"apiVersion": self._lease.api_version, "kind": self._lease.kind, "metadata": metadata, "spec": spec}
        await self._kube.apply(lease, manager=MANAGER)
        if self.frozen is not None:
            logger.info("the admission rules are in force", extra=event("AdmissionRulesInForce"))
        self.frozen = None

    def _since(self, records: Sequence[AuditRecordSpec]) -> str:
        """Return when the rules were last seen in force; empty: never."""
        if self._verified is not None:
            return rfc3339(self._verified)
        verified = [record.payload["until"] for record in records if record.type == "AdmissionVerified"]
        return verified[-1] if verified else ""

    async def resume(self) -> None:
        """Take over when an earlier process saw the rules in force; a time to come vouches for nothing beyond now."""
        while True:
            try:
                lease = await self._kube.get(self._lease)
                break
            except (Transient, Terminal) as error:
                logger.warning(
                    "lease %s cannot be read: %s",
                    self._lease,
                    error.message,
                    extra=event("LeaseUnread", lease=self._lease, error=error.message),
                )
                await asyncio.sleep(1.0)
        told = (lease or {}).get("spec", {}).get("renewTime")
        self._verified = min(datetime.fromisoformat(told), datetime.now(UTC)) if told else None

    async def _record(self, type_: EventType, key: str, payload: dict[str, str]) -> None:
        await self._ledger.append(
            AuditEntry(type=type_, actor=OPERATOR, subject=self._subject, key=key, payload=payload)
        )

    def _freeze(self, why: str) -> None:
        if self.frozen != why:
            logger.error("nothing new is approved or rolled out: %s", why, extra=event("DecisionsFrozen", why=why))
        self.frozen = why


class GuardedLedger:
    """The ledger as controllers get it: what the guard holds back is not recorded, and so does not happen."""

    def __init__(self, ledger: LedgerWriter, guard: Guard) -> None:
        self._ledger = ledger
        self._guard = guard

    async def append(self, entry: AuditEntry) -> AuditRecordSpec:
        """Record as ``LedgerWriter`` does. Raises ``Waiting`` for what is held back."""
        if entry.type in HELD_BACK:
            await self._guard.vouch(entry.type)
        return await self._ledger.append(entry)

    async def of_subject(self, uid: str) -> Sequence[AuditRecordSpec]:
        """Return what is recorded about the object of that UID, oldest first."""
        return await self._ledger.of_subject(uid)

    async def of_namespace(
        self, kind: str, namespace: str, types: Collection[str], since: datetime
    ) -> Sequence[AuditRecordSpec]:
        """Return what of some types is recorded since then about objects of that kind and namespace, oldest first."""
        return await self._ledger.of_namespace(kind, namespace, types, since)

    async def tries(self, data_digest: str, sketch: Sketch | None = None) -> Tries:
        """Return the tries on questions of that digest, or of which that sketch shows enough."""
        return await self._ledger.tries(data_digest, sketch)
