"""What a planner asks the worker to do. The worker acts in the order of the fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunegate.kube.references import ObjectRef
from tunegate.ledger.entry import AuditEntry, AuditSubject

__all__ = ["AuditEntry", "AuditSubject", "EventNote", "Plan"]


@dataclass(frozen=True)
class EventNote:
    """A Kubernetes Event on the reconciled object. Plan one on a transition only, never on every reconcile."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """One step towards what the object asks for. An empty plan means: nothing to do until something changes."""

    closes: tuple[Mapping[str, Any], ...] = ()
    """Applied before anything else, the ledger included: what stops something waits for nothing."""
    stops: tuple[ObjectRef, ...] = ()
    """Pods to delete as early, within seconds: they answer what they may not."""
    audit: tuple[AuditEntry, ...] = ()
    """Recorded before anything below; while the ledger cannot be written, the rest waits."""
    deletes: tuple[ObjectRef, ...] = ()
    """Background propagation; an object that is gone already is a success."""
    creates: tuple[Mapping[str, Any], ...] = ()
    """Create-only, one after the other: the first that is refused ends them. One that is there and as planned is a success."""
    applies: tuple[Mapping[str, Any], ...] = ()
    """Applied whole: each is tried, whatever becomes of the others, but pods do not start without what they mount."""
    claims_creates: bool = True
    """The status says that the creates were made: where one is refused, the status of before stays, with the refusal."""
    status: Mapping[str, Any] | None = None
    """Every status field that this controller owns (camelCase); a field left out is removed. None: status untouched."""
    events: tuple[EventNote, ...] = ()
    requeue_after: float | None = None
    """Seconds until the object is looked at again even if nothing changes."""
    uid: str = ""
    """UID of the observed object: guards the status against an object made again under the same name."""
