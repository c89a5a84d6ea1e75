"""Brings the objects of one plan into place: each is tried, and what needs a refused one is not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tunegate.api.conditions import OBJECTS_IN_PLACE, rfc3339
from tunegate.api.reasons import OwnershipReason
from tunegate.controllers.ownership import Done, Finding, ForeignObject, Ownership
from tunegate.controllers.services import Ledger
from tunegate.errors import Terminal, Transient, Waiting
from tunegate.kube.client import ObjectKey, ObjectRef
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.logs import event

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]
Refusal = Terminal | Transient | Waiting
MESSAGE = 1024


class Bringing:
    """The objects of one plan. ``errors`` holds what they ended in, in the order of the plan."""

    def __init__(
        self, ownership: Ownership, kind: str, key: ObjectKey, uid: str, ledger: Ledger, writes: Counter[str]
    ) -> None:
        self._ownership = ownership
        self._subject = AuditSubject(kind, key.namespace, key.name, uid)
        self._ledger = ledger
        self._writes = writes
        self._missing: set[tuple[str, str]] = set()
        self.errors: list[Refusal] = []
        self.creates_refused = False

    async def create(self, objects: Sequence[Json]) -> None:
        """Create one after the other. After the first that is refused the rest is missing too."""
        for number, obj in enumerate(objects):
            try:
                await self._note(obj, await self._ownership.create(obj))
            except (Terminal, Transient, Waiting) as error:
                await self._refused(error)
                self.creates_refused = True
                self._missing |= {(str(left["kind"]), str(left["metadata"]["name"])) for left in objects[number:]}
                return

    async def apply(self, objects: Sequence[Json]) -> None:
        """Apply each whose pods find all that they mount."""
        for obj in objects:
            if self._missing & mounted(obj):
                self._missing.add((str(obj["kind"]), str(obj["metadata"]["name"])))
                continue
            try:
                await self._note(obj, await self._ownership.apply(obj))
            except (Terminal, Transient, Waiting) as error:
                await self._refused(error)
                self._missing.add((str(obj["kind"]), str(obj["metadata"]["name"])))

    async def _note(self, obj: Json, done: Done) -> None:
        if done.action is not None:
            logger.info(
                "%s %s",
                "created" if done.action == "create" else "applied",
                ObjectRef.of(obj),
                extra=event(
                    "ObjectWritten",
                    action="created" if done.action == "create" else "applied",
                    ref=str(ObjectRef.of(obj)),
                ),
            )
            self._writes[done.action] += 1
        if done.finding is not None:
            await record(self._ledger, self._subject, done.finding)

    async def _refused(self, error: Refusal) -> None:
        self.errors.append(error)
        if isinstance(error, ForeignObject):
            await record(self._ledger, self._subject, error.finding)


async def record(ledger: Ledger, subject: AuditSubject, finding: Finding) -> None:
    """Record what was found, once. It stops nothing, so that a ledger that is away keeps nothing open either."""
    logger.warning(
        "%s: %s was not Tunegate's in %s",
        finding.outcome,
        finding.ref,
        ", ".join(finding.differs),
        extra=event(
            "ForeignObjectFound", outcome=finding.outcome, ref=str(finding.ref), differs=", ".join(finding.differs)
        ),
    )
    entry = AuditEntry("ForeignObjectFound", OPERATOR, subject, finding.key, finding.payload)
    try:
        await ledger.append(entry)
    except (Transient, Terminal) as error:
        logger.warning(
            "what was found is not recorded yet: %s",
            error.message,
            extra=event("FindingNotRecorded", error=error.message),
        )


def mounted(obj: Json) -> set[tuple[str, str]]:
    """Return kind and name of what the pods of a workload mount."""
    pod = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    found = set()
    for volume in pod.get("volumes") or []:
        found.add(("ConfigMap", (volume.get("configMap") or {}).get("name", "")))
        found.add(("Secret", (volume.get("secret") or {}).get("secretName", "")))
        found.add(("PersistentVolumeClaim", (volume.get("persistentVolumeClaim") or {}).get("claimName", "")))
    return found


def out_of_place(status: dict[str, Any], live: Json, errors: Sequence[Refusal], now: datetime) -> dict[str, Any]:
    """Return the status with what is not in place: a condition for machines, and the message for people."""
    text = "; ".join(dict.fromkeys(error.message for error in errors))[:MESSAGE]
    first = errors[0]
    reason: str = OwnershipReason.REQUEST_REFUSED
    if isinstance(first, Waiting) or (isinstance(first, Terminal) and first.reason == OwnershipReason.UNREADABLE):
        reason = first.reason
    condition = {
        "type": OBJECTS_IN_PLACE,
        "status": "False",
        "reason": str(reason),
        "message": text,
        "lastTransitionTime": rfc3339(now),
        "observedGeneration": live["metadata"].get("generation", 0),
    }
    before = (live.get("status") or {}).get("conditions") or []
    known = next((one for one in before if one["type"] == OBJECTS_IN_PLACE and one["status"] == "False"), None)
    if known is not None:
        condition["lastTransitionTime"] = known["lastTransitionTime"]
    others = [one for one in status.get("conditions") or [] if one["type"] != OBJECTS_IN_PLACE]
    return {**status, "message": text, "conditions": [*others, condition]}
