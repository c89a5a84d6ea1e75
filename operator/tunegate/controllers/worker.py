"""Worker: reconciles one key and acts on the plan. The only place from which controllers change the cluster.

The order is the crash contract: what stops something comes first of all, then what is irreversible is recorded, old things
go before new ones come, and the status is written last, so that it never claims what was not done. After a crash at any point the next reconcile sees
the world as it is and plans the rest.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from tunegate.api.markers import API_VERSION
from tunegate.controllers.bringing import Bringing, out_of_place
from tunegate.controllers.context import reconciling
from tunegate.controllers.ownership import ForeignObject, Ownership
from tunegate.controllers.services import Controller, Ledger, Stopping
from tunegate.errors import Terminal, Transient, Waiting
from tunegate.kube.client import Conflict, KubeClient, ObjectKey, ObjectRef
from tunegate.kube.fields import applied, same
from tunegate.logs import event
from tunegate.reconcile.plan import EventNote, Plan

logger = logging.getLogger(__name__)

STOP_SECONDS = 5
"""What a pod is left that has to stop answering at once."""
Result = Literal["done", "waiting", "transient", "terminal", "defect", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """How a reconcile ended, and in how many seconds the object is to be looked at again (None: at the next change)."""

    result: Result
    after: float | None = None
    writes: Mapping[str, int] = field(default_factory=dict)


class Worker:
    """Acts for one controller. Several tasks may share it: it keeps nothing between reconciles but what it warned of."""

    def __init__(self, controller: Controller, kube: KubeClient, ledger: Ledger) -> None:
        self._controller = controller
        self._kube = kube
        self._ledger = ledger
        self._ownership = Ownership(kube)
        self._warned: dict[ObjectKey, str] = {}

    @property
    def name(self) -> str:
        """The controller's class name: the label of its metrics and log lines."""
        return type(self._controller).__name__

    @property
    def stops(self) -> bool:
        """Whether the controller knows what has to stop at once."""
        return isinstance(self._controller, Stopping)

    @property
    def shows_progress(self) -> bool:
        """Whether the controller shows elsewhere what others say about progress."""
        return self._controller.shows_progress

    async def run(self, key: ObjectKey) -> Outcome:
        """Reconcile ``key`` once. Never raises: every failure becomes an outcome, and unknown ones are logged whole."""
        outcome = await self._run(key, self._controller.reconcile)
        if outcome.result == "done":
            self._warned.pop(key, None)
        return outcome

    async def stop(self, key: ObjectKey) -> Outcome:
        """Only do what has to stop at once, as ``run`` does; nothing where the controller knows no such thing."""
        return (
            await self._run(key, self._controller.stop) if isinstance(self._controller, Stopping) else Outcome("done")
        )

    async def _run(self, key: ObjectKey, look: Callable[[ObjectKey], Awaitable[Plan | None]]) -> Outcome:
        writes: Counter[str] = Counter()
        plan: Plan | None = None
        with reconciling(self.name, self._controller.kind, key.namespace, key.name):
            try:
                plan = await look(key)
                if plan is not None:
                    await self._act(key, plan, writes)
            except Waiting as error:
                logger.info(
                    "waiting: %s: %s",
                    error.reason,
                    error.message,
                    extra=event("ReconcileWaits", reason=error.reason, why=error.message),
                )
                await self._warn(key, error)
                return Outcome("waiting", _sooner(error.requeue_after, plan), writes)
            except Transient as error:
                level = logging.INFO if isinstance(error, Conflict) else logging.WARNING
                logger.log(level, "will be tried again: %s", error.message)
                return Outcome("transient", error.retry_after, writes)
            except Terminal as error:
                logger.error(
                    "needs attention: %s: %s",
                    error.reason,
                    error.message,
                    extra=event("ReconcileFailed", reason=error.reason, why=error.message),
                )
                await self._warn(key, error)
                if plan is None:
                    await self._tell(key, error, writes)
                return Outcome("terminal", _sooner(None, plan), writes)
            except Exception:
                logger.exception("defect in %s", self.name, extra=event("ReconcileDefect", controller=self.name))
                return Outcome("defect", None, writes)
            return Outcome("done", plan.requeue_after if plan is not None else None, writes)

    async def _act(self, key: ObjectKey, plan: Plan, writes: Counter[str]) -> None:
        """Act on the plan. What one object ends in holds up no other that does not need it; the first error is raised."""
        bringing = Bringing(self._ownership, self._controller.kind, key, plan.uid, self._ledger, writes)
        await bringing.apply(plan.closes)
        for ref in plan.stops:
            logger.warning("stopping %s", ref, extra=event("ObjectStopped", ref=str(ref)))
            await self._kube.delete(ref, grace_seconds=STOP_SECONDS)
            writes["delete"] += 1
        for entry in plan.audit:
            await self._ledger.append(entry)
            writes["audit"] += 1
        for ref in plan.deletes:
            logger.info("deleting %s", ref, extra=event("ObjectDeleted", ref=str(ref)))
            await self._kube.delete(ref)
            writes["delete"] += 1
        await bringing.create(plan.creates)
        await bringing.apply(plan.applies)
        if bringing.errors:
            status = None if bringing.creates_refused and plan.claims_creates else plan.status
            await self._report_errors(key, plan, status, bringing.errors, writes)
            raise bringing.errors[0]
        if plan.status is not None or plan.events:
            await self._report(key, plan, writes)

    async def _report_errors(
        self,
        key: ObjectKey,
        plan: Plan,
        status: Mapping[str, Any] | None,
        errors: Sequence[Terminal | Transient | Waiting],
        writes: Counter[str],
    ) -> None:
        """Write the status with what is not in place; ``status`` None: that of before. Nothing where it may pass by itself."""
        if any(isinstance(error, Transient) for error in errors):
            return
        live = await self._kube.get(self._ref(key))
        if live is None:
            return
        before = applied(live, self._controller.manager, "status") or {}
        told = out_of_place(dict(before if status is None else status), live, errors, datetime.now(UTC))
        await self._report(key, replace(plan, status=told, events=()), writes)

    async def _tell(self, key: ObjectKey, error: Terminal, writes: Counter[str]) -> None:
        """Say in the status why the object could not be looked at; the event that says the same is gone after an hour.

        Only where the message of the status is this controller's to write."""
        try:
            live = await self._kube.get(self._ref(key))
            if live is None:
                return
            before = applied(live, self._controller.manager, "status") or {}
            if "message" in before or not live.get("status"):
                told = out_of_place(dict(before), live, [error], datetime.now(UTC))
                await self._report(key, Plan(status=told), writes)
        except (Transient, Terminal) as refused:
            logger.warning(
                "what is wrong could not be written into the status: %s",
                refused.message,
                extra=event("StatusNotWritten", error=refused.message),
            )

    async def _report(self, key: ObjectKey, plan: Plan, writes: Counter[str]) -> None:
        """Write the status if it says something new, then post the events."""
        live = await self._kube.get(self._ref(key))
        if live is None:
            return
        if plan.uid and live["metadata"]["uid"] != plan.uid:
            raise Conflict(f"{self._ref(key)} was made again while it was reconciled")
        manager = self._controller.manager
        if plan.status is not None and not same(applied(live, manager, "status"), plan.status):
            await self._kube.apply(self._with_status(live, plan.status), manager=manager, subresource="status")
            writes["status"] += 1
        for note in plan.events:
            await self._post(live, note)
            writes["event"] += 1

    def _with_status(self, live: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
        kept = ("name", "namespace", "uid")
        metadata = {field: live["metadata"][field] for field in kept if field in live["metadata"]}
        return {"apiVersion": API_VERSION, "kind": self._controller.kind, "metadata": metadata, "status": dict(status)}

    async def _post(self, about: Mapping[str, Any], note: EventNote) -> None:
        """Post an event. A lost event is no reason to fail: the status says the same."""
        try:
            await self._kube.create_event(about, type_=note.type, reason=note.reason, message=note.message)
        except (Transient, Terminal) as error:
            logger.warning(
                "event %s could not be posted: %s",
                note.reason,
                error,
                extra=event("EventNotPosted", reason=note.reason, error=error),
            )

    async def _warn(self, key: ObjectKey, error: Terminal | Waiting) -> None:
        """Say on the object what needs a person: once, not at every resync."""
        if self._warned.get(key) == error.message:
            return
        self._warned[key] = error.message
        try:
            live = await self._kube.get(self._ref(key))
        except (Transient, Terminal):
            return
        if live is not None:
            reason = error.reason if isinstance(error, ForeignObject) else "ReconcileFailed"
            await self._post(live, EventNote("Warning", reason, error.message))

    def _ref(self, key: ObjectKey) -> ObjectRef:
        return ObjectRef(API_VERSION, self._controller.kind, key.name, key.namespace)


def _sooner(after: float | None, plan: Plan | None) -> float | None:
    """Return when to look again: an object that is refused must not keep the rest from being looked after."""
    times = [time for time in (after, plan.requeue_after if plan else None) if time is not None]
    return min(times, default=None)
