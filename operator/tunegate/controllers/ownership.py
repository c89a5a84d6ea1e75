"""The one place from which objects of ours are written: it looks first at what stands under the name.

A name says nothing about who made an object: whoever may write ConfigMaps or claims of a namespace could have put one there
first. So what exists is ours only if it has our owner and says, whole, what was planned. What is somebody else's is refused
by name and left alone, except where nobody else has any business: an object of a reserved name (``RESERVED``) that we apply
is deleted and made again, and what others added to an object of ours is taken back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cachetools import LRUCache

from tunegate.api.markers import RESERVED
from tunegate.api.reasons import OwnershipReason
from tunegate.digests import document_digest
from tunegate.errors import Terminal, Waiting
from tunegate.kube.client import FIELD_MANAGER, AlreadyExists, Conflict, KubeClient, ObjectRef, Refused
from tunegate.kube.likeness import PLAIN, controller_uid, differences, is_ours, other_writers, sections, taking_back
from tunegate.logs import event

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]
Action = Literal["create", "apply"]
REMEMBERED = 1024
"""Completed forms kept in memory: an object that stays as it is costs a read and no write."""
LOOK_AGAIN = 15.0
"""Seconds until a foreign object is looked at again: it carries no label of ours, so no event tells when it goes."""
SETTLE = 2.0
"""Seconds until an object that is being deleted is looked at again."""
REMADE = frozenset({"ConfigMap", "Secret", "Service"})
"""Kinds of created objects of ours that are made again when they are not as planned. A Job may have pods at work, and a claim
holds checkpoints: those are left to people."""
UNREADABLE = 403
INVALID = 422


@dataclass(frozen=True)
class Finding:
    """What stood under one of our names and was not as it should be."""

    ref: ObjectRef
    uid: str
    outcome: Literal["Refused", "Replaced", "TakenBack"]
    differs: tuple[str, ...]
    writers: tuple[str, ...] = ()
    owned: bool = False
    """It has our owner: what is foreign about it is what it says."""

    @property
    def payload(self) -> dict[str, str]:
        """What the ledger keeps of it. Names only: what a foreign object says may be anything."""
        told = {"object": str(self.ref), "uid": self.uid, "outcome": self.outcome, "differs": ", ".join(self.differs)}
        if self.writers:
            told["writers"] = ", ".join(self.writers)
        return {key: value[:1024] for key, value in told.items()}

    @property
    def key(self) -> str:
        """Tells findings apart: the same one is recorded once."""
        return document_digest(self.payload)


class ForeignObject(Waiting):
    """Something stands under our name that is not ours; what needs it waits until it is gone."""

    def __init__(self, finding: Finding) -> None:
        ref = finding.ref
        why = f"differs in {', '.join(finding.differs)}" if finding.owned else "has another owner or none"
        message = (
            f"{ref} is not Tunegate's: it {why}. Find out who made it, then have somebody who maintains the installation "
            f"delete it: kubectl{f' -n {ref.namespace}' if ref.namespace else ''} delete {ref.kind.lower()} {ref.name}. "
            "Work goes on by itself after that"
        )
        super().__init__(OwnershipReason.FOREIGN_OBJECT, message, requeue_after=LOOK_AGAIN)
        self.finding = finding


@dataclass(frozen=True)
class Done:
    """How a write went. ``action`` None: everything was as planned already."""

    action: Action | None
    finding: Finding | None = None


class Ownership:
    """Creates and applies objects, and keeps in memory what the API server makes of a planned one."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._completed: LRUCache[str, dict[str, Any]] = LRUCache(REMEMBERED)

    async def create(self, wanted: Json) -> Done:
        """Create the object, unless it is there and as planned. Raises ``ForeignObject``."""
        try:
            await self._kube.create(wanted)
            return Done("create")
        except AlreadyExists:
            live = await self._existing(wanted)
        if live is None:
            return await self._create_again(wanted, None)
        _refuse_leaving(live, ObjectRef.of(wanted))
        if not is_ours(live, wanted):
            raise ForeignObject(_finding(live, wanted, "Refused", ["metadata.ownerReferences"]))
        found = await self._differences(live, wanted)
        if not found:
            return Done(None)
        if wanted["kind"] in REMADE:
            return await self._create_again(wanted, _finding(live, wanted, "Replaced", found))
        if wanted["kind"] == "Job" and not any(place.startswith("metadata") for place in found):
            raise Conflict(f"{ObjectRef.of(wanted)} was made meanwhile from other inputs: it is looked at again")
        raise ForeignObject(_finding(live, wanted, "Refused", found))

    async def apply(self, wanted: Json, *, manager: str = FIELD_MANAGER) -> Done:
        """Make the object what was planned, whole; write nothing where it is. Raises ``ForeignObject``."""
        ref = ObjectRef.of(wanted)
        live = await self._kube.get(ref)
        if live is None:
            return await self._applied(wanted, await self._kube.apply(wanted, manager=manager), manager)
        if ref.name.startswith(RESERVED) and "deletionTimestamp" in live["metadata"]:
            await self._release(ref, live)
            live = await self._kube.get(ref)
            if live is None:
                return await self._applied(wanted, await self._kube.apply(wanted, manager=manager), manager)
        _refuse_leaving(live, ref)
        if not is_ours(live, wanted):
            finding = _finding(live, wanted, "Refused", ["metadata.ownerReferences"], manager)
            if not ref.name.startswith(RESERVED):
                raise ForeignObject(finding)
            return await self._apply_again(wanted, live, manager)
        if not await self._differences(live, wanted):
            return Done(None)
        written = {**wanted, "metadata": {**wanted["metadata"], "uid": live["metadata"]["uid"]}}
        try:
            answer = await self._kube.apply(written, manager=manager)
        except Refused as error:
            if error.code != INVALID:
                raise
            return await self._apply_again(wanted, live, manager)
        return await self._applied(wanted, answer, manager)

    async def _applied(self, wanted: Json, answer: Json, manager: str) -> Done:
        """Compare the API server's answer to an apply with the plan, and take back what others have in it."""
        # Not the remembered form: defaults may be others since the API server was upgraded.
        found = await self._differences(answer, wanted, remembered=False)
        if not found:
            return Done("apply")
        finding = _finding(answer, wanted, "TakenBack", found, manager)
        completed = await self._complete(wanted)
        if completed is None:
            return await self._apply_again(wanted, answer, manager)
        try:
            patched = await self._kube.patch(ObjectRef.of(wanted), taking_back(answer, wanted, completed))
        except Refused as error:
            if error.code != INVALID:
                raise
            return await self._apply_again(wanted, answer, manager)
        left = await self._differences(patched, wanted)
        if left:
            text = (
                f"{ObjectRef.of(wanted)} does not become as planned: something writes {', '.join(left)} again and again"
            )
            raise Terminal(OwnershipReason.FOREIGN_OBJECT, text)
        return Done("apply", finding)

    async def _apply_again(self, wanted: Json, live: Json, manager: str) -> Done:
        """Delete what stands there and apply: for what Kubernetes lets nobody change, and for foreign objects of our names."""
        ref = ObjectRef.of(wanted)
        finding = _finding(live, wanted, "Replaced", await self._differences(live, wanted), manager)
        logger.warning(
            "%s is made again: it differs in %s",
            ref,
            ", ".join(finding.differs),
            extra=event("ObjectReplaced", ref=str(ref), differs=", ".join(finding.differs)),
        )
        await self._kube.delete(ref, uid=live["metadata"]["uid"])
        left = await self._kube.get(ref)
        if left is not None and ref.name.startswith(RESERVED):
            await self._release(ref, left)
            left = await self._kube.get(ref)
        if left is not None:
            _refuse_leaving(left, ref)
        answer = await self._kube.apply(wanted, manager=manager)
        if not is_ours(answer, wanted):
            raise Conflict(f"{ref} was made by somebody else at the same moment")
        return Done("apply", finding)

    async def _create_again(self, wanted: Json, finding: Finding | None) -> Done:
        ref = ObjectRef.of(wanted)
        logger.warning("%s is made again: it was not as planned", ref, extra=event("ObjectReplaced", ref=str(ref)))
        await self._kube.delete(ref, uid=finding.uid if finding else None)
        await self._kube.create(wanted)
        return Done("create", finding)

    async def _existing(self, wanted: Json) -> Json | None:
        """Return what stands under the name; None where we may not read it: Secrets of the operator's own namespace."""
        ref = ObjectRef.of(wanted)
        try:
            live = await self._kube.get(ref)
        except Refused as error:
            if error.code == UNREADABLE and ref.kind == "Secret":
                return None
            raise
        if live is None:
            raise Conflict(f"{ref} was there a moment ago")
        return live

    async def _release(self, ref: ObjectRef, live: Json) -> None:
        """Take off the finalizers by which somebody keeps an object of our names from going.

        Kubernetes' own too: `foregroundDeletion` waits for whatever somebody made to depend on it.
        """
        finalizers = live["metadata"].get("finalizers")
        if not finalizers:
            return
        logger.warning(
            "%s is kept by finalizers, which are taken off: %s",
            ref,
            ", ".join(finalizers),
            extra=event("FinalizersRemoved", ref=str(ref), finalizers=", ".join(finalizers)),
        )
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
            {"op": "remove", "path": "/metadata/finalizers"},
        ]
        await self._kube.patch(ref, operations)

    async def _differences(self, live: Json, wanted: Json, *, remembered: bool = True) -> list[str]:
        completed = await self._complete(wanted, remembered=remembered)
        found = differences(live, wanted, completed)
        if found and remembered and wanted["kind"] not in PLAIN:
            found = differences(live, wanted, await self._complete(wanted, remembered=False))
        return found

    async def _complete(self, wanted: Json, *, remembered: bool = True) -> dict[str, Any] | None:
        """Return the planned sections as the API server would keep them; None where it does not say."""
        if wanted["kind"] in PLAIN:
            return sections(wanted)
        key = document_digest({**wanted, "metadata": {**wanted["metadata"], "name": ""}})
        if remembered and key in self._completed:
            return self._completed[key]
        name = f"{RESERVED}compared-{key.removeprefix('sha256:')[:10]}"
        try:
            made = await self._kube.create({**wanted, "metadata": {**wanted["metadata"], "name": name}}, dry_run=True)
        except (Refused, AlreadyExists) as error:
            # A full quota, or a webhook that knows no dry run.
            logger.warning(
                "defaults of %s are not known, what others added is not seen: %s",
                ObjectRef.of(wanted),
                error,
                extra=event("DefaultsUnknown", ref=str(ObjectRef.of(wanted)), error=error),
            )
            return None
        self._completed[key] = sections(made)
        return self._completed[key]


def _refuse_leaving(live: Json, ref: ObjectRef) -> None:
    if "deletionTimestamp" in live["metadata"]:
        finalizers = ", ".join(live["metadata"].get("finalizers") or [])
        kept = f", kept by the finalizers {finalizers}" if finalizers else ""
        raise Waiting(OwnershipReason.BEING_DELETED, f"{ref} is being deleted{kept}", requeue_after=SETTLE)


def _finding(
    live: Json,
    wanted: Json,
    outcome: Literal["Refused", "Replaced", "TakenBack"],
    differs: list[str],
    manager: str = FIELD_MANAGER,
) -> Finding:
    owner = controller_uid(wanted)
    return Finding(
        ref=ObjectRef.of(wanted),
        uid=str(live["metadata"]["uid"]),
        outcome=outcome,
        differs=tuple(differs),
        writers=tuple(other_writers(live, manager)),
        owned=bool(owner) and controller_uid(live) == owner,
    )
