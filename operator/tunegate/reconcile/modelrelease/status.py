"""The status of a release: phase, message, conditions and the count, from what the planner concluded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tunegate.api.conditions import Condition, ConditionStatus, is_true, rfc3339, set_condition
from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.modelrelease import ModelRelease, ModelReleaseStatus, Override, ReleasePhase
from tunegate.api.reasons import ReleaseReason
from tunegate.api.shared import NamedRef
from tunegate.reconcile.approvals import tally
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.reconcile.stops import Stop
from tunegate.release.ballot import Verdict

OWN_CONDITIONS = ("Ready", "EvidenceComplete", "Approved", "Overridden", "Superseded", "QuorumLost", "Tampered")


@dataclass(frozen=True)
class ConditionDraft:
    """A condition as it will be."""

    type: str
    status: ConditionStatus
    reason: ReleaseReason
    message: str = ""


@dataclass(frozen=True)
class StatusDraft:
    """The status as it will be: what the planner concluded."""

    phase: ReleasePhase
    message: str
    conditions: tuple[ConditionDraft, ...] = ()
    verdict: Verdict | None = None
    frozen: Frozen | None = None
    server: str | None = None
    approved_time: str | None = None
    override: Override | None = None
    show_digest: bool = field(default=True)
    """False until the ledger holds the statement: approvals cannot name it before."""


def status_of(release: ModelRelease, draft: StatusDraft, now: datetime) -> dict[str, Any]:
    """Return every status field that the release controller owns, in the API's form."""
    frozen, verdict = draft.frozen, draft.verdict
    old = release.status
    shown = frozen if draft.show_digest else None
    status = ModelReleaseStatus(
        observed_generation=release.generation,
        phase=draft.phase,
        message=draft.message[:TEXT_CHARACTERS],
        conditions=_conditions(release, _with_ready(draft.conditions), now),
        release_digest=shown.digest if shown else old.release_digest,
        statement_digest=shown.oci_digest if shown else old.statement_digest,
        served_name=shown.statement.served_name if shown else old.served_name,
        server_ref=NamedRef(name=draft.server) if draft.server else old.server_ref,
        approved_time=draft.approved_time,
        override=draft.override,
    )
    if verdict is not None:
        status = status.model_copy(update=tally(verdict))
    return _owned(status)


def stopped_status(release: ModelRelease, stop: Stop, now: datetime) -> dict[str, Any]:
    """Return the release's status with only what a stop changes; the count and the rest follow in a later step."""
    drafts = [
        ConditionDraft("Approved", "False", stop.reason, stop.message),
        ConditionDraft("Ready", "False", stop.reason, "its route is closed"),
    ]
    if is_true(release.status.conditions, "Overridden"):
        drafts.append(ConditionDraft("Overridden", "False", stop.reason, stop.message))
    changed = {draft.type for draft in drafts}
    others = [one for one in release.status.conditions if one.type not in changed]
    conditions = [*others, *_conditions(release, tuple(drafts), now)]
    status = release.status.model_copy(
        update={
            "observed_generation": release.generation,
            "phase": stop.phase,
            "message": stop.message[:TEXT_CHARACTERS],
            "conditions": sorted(conditions, key=_order),
        }
    )
    return _owned(status)


def _owned(status: ModelReleaseStatus) -> dict[str, Any]:
    """Return the fields without those of lineage's controller."""
    document = status.to_dict()
    document.pop("mlflowVersion", None)
    document.pop("mlflowModel", None)
    return document


def _order(condition: Condition) -> int:
    known = condition.type in OWN_CONDITIONS
    return OWN_CONDITIONS.index(condition.type) if known else len(OWN_CONDITIONS)


def _with_ready(drafts: tuple[ConditionDraft, ...]) -> tuple[ConditionDraft, ...]:
    """Add `Ready` where nothing is said of serving yet: it is False for the reason why the release got no further."""
    if any(draft.type == "Ready" for draft in drafts):
        return drafts
    unmet = [draft for draft in drafts if draft.type in ("EvidenceComplete", "Approved") and draft.status != "True"]
    return (*(ConditionDraft("Ready", "False", draft.reason, draft.message) for draft in unmet[-1:]), *drafts)


def _conditions(release: ModelRelease, drafts: tuple[ConditionDraft, ...], now: datetime) -> list[Condition]:
    kept = [condition for condition in release.status.conditions if condition.type in {draft.type for draft in drafts}]
    for draft in drafts:
        kept = set_condition(
            kept,
            Condition(
                type=draft.type,
                status=draft.status,
                reason=draft.reason.value,
                message=draft.message,
                last_transition_time=rfc3339(now),
                observed_generation=release.generation,
            ),
        )
    return sorted(kept, key=_order)
