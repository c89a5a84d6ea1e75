"""The plan in the making: the job's status as it will be, and what has to be done for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from tunegate.api.conditions import Condition, ConditionStatus, find, rfc3339, set_condition
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import JobPhase, StageName, StageStatus
from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.reasons import JobReason
from tunegate.kube.references import ObjectRef
from tunegate.ledger.entry import OPERATOR
from tunegate.reconcile.plan import AuditEntry, AuditSubject, EventNote, Plan

OWN_CONDITIONS = ("Complete", "Failed", "Scheduled", "Waived")
FOREIGN_FIELDS = {"mlflowRunId"}
"""Written by the lineage controller under its own field manager."""
SOON = 0.1
"""Seconds until the next step of a job that need not wait for anything."""
TRAIN_ORDER: tuple[StageName, ...] = ("Validate", "Baseline", "Train", "Seal", "Evaluate")
IMPORT_ORDER: tuple[StageName, ...] = ("Validate", "Baseline", "Seal", "Evaluate")


def order(job: FineTuneJob) -> tuple[StageName, ...]:
    """Return the stages of the job in their order."""
    return IMPORT_ORDER if job.spec.source == "Import" else TRAIN_ORDER


class Draft:
    """Collects one plan. Lives for one call of the planner and is seen by nothing else."""

    def __init__(self, job: FineTuneJob, now: datetime) -> None:
        self.job = job
        self.now = now
        self.audit: list[AuditEntry] = []
        self.deletes: list[ObjectRef] = []
        self.creates: list[Mapping[str, Any]] = []
        self.applies: list[Mapping[str, Any]] = []
        self.events: list[EventNote] = []
        self.requeue_after: float | None = None
        self.stages = {name: job.status.stage(name) for name in order(job)}
        self._conditions = [entry for entry in job.status.conditions if entry.type in OWN_CONDITIONS]
        self._fields: dict[str, Any] = {}

    def stage(self, name: StageName) -> StageStatus:
        """Return the stage as it will be."""
        return self.stages[name]

    def set_stage(self, name: StageName, **changes: Any) -> None:
        """Change fields of a stage's status; texts are cut to what the API allows."""
        if changes.get("message"):
            changes["message"] = changes["message"][:TEXT_CHARACTERS]
        self.stages[name] = self.stages[name].model_copy(update=changes)

    def set(self, **changes: Any) -> None:
        """Change fields of the job's status."""
        self._fields |= changes

    def get(self, name: str) -> Any:
        """Return a field of the job's status as it will be."""
        return self._fields.get(name, getattr(self.job.status, name))

    @property
    def subject(self) -> AuditSubject:
        """The job, as the ledger names it."""
        return AuditSubject(self.job.kind, self.job.namespace, self.job.name, self.job.uid)

    def tell(self, phase: JobPhase, message: str) -> None:
        """Set what people read first."""
        self._fields |= {"phase": phase, "message": message[:TEXT_CHARACTERS]}

    def condition(self, type_: str, status: ConditionStatus, reason: JobReason, message: str = "") -> bool:
        """Set a condition; returns whether its status or reason changed."""
        old = find(self._conditions, type_)
        new = Condition(
            type=type_,
            status=status,
            reason=reason,
            message=message[:TEXT_CHARACTERS],
            last_transition_time=rfc3339(self.now),
            observed_generation=self.job.generation,
        )
        self._conditions = set_condition(self._conditions, new)
        return old is None or (old.status, old.reason) != (status, reason)

    def note(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Add an Event."""
        self.events.append(EventNote(type_, reason, message[:TEXT_CHARACTERS]))

    def record(
        self,
        type_: Literal["JobRequested", "BudgetReserved", "SuiteAsked", "AdapterSealed", "JobFinished"],
        payload: Mapping[str, str],
    ) -> None:
        """Add an audit entry; each type happens once in the life of a job."""
        actor = self.job.spec.requested_by.username if type_ == "JobRequested" else OPERATOR
        self.audit.append(AuditEntry(type=type_, actor=actor, subject=self.subject, key=type_, payload=dict(payload)))

    def again(self, seconds: float) -> None:
        """Look at the job again after so long, or sooner where that was asked for."""
        seconds = max(0.0, seconds)
        self.requeue_after = seconds if self.requeue_after is None else min(self.requeue_after, seconds)

    def plan(self) -> Plan:
        """Return the finished plan."""
        status = self.job.status.model_copy(
            update={
                "observed_generation": self.job.generation,
                "stages": list(self.stages.values()),
                "conditions": self._conditions,
                **self._fields,
            }
        )
        fields = {name: value for name, value in status.to_dict().items() if name not in FOREIGN_FIELDS}
        return Plan(
            audit=tuple(self.audit),
            deletes=tuple(dict.fromkeys(self.deletes)),
            creates=tuple(self.creates),
            applies=tuple(self.applies),
            status=fields,
            events=tuple(self.events),
            requeue_after=self.requeue_after,
            uid=self.job.uid,
        )
