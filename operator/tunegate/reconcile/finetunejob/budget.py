"""The budget of a namespace: what its trainings took in this month or quarter, and whether one more may begin.

What has ended is counted from the ledger, so that deleting a job frees nothing; what runs, by its estimate or by what it
has used, whichever is more. Before a training begins its estimate is recorded there too: it counts for a job that was
deleted before it ended. A training counts in the period in which its job ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tunegate.api.approvalpolicy import ApprovalPolicy, NamespaceBudget
from tunegate.api.computepool import ComputePool
from tunegate.api.conditions import rfc3339
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import StageName
from tunegate.api.numbers import plain
from tunegate.api.reasons import JobReason
from tunegate.reconcile.finetunejob.inputs import Inputs
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.refusals import Blocked

if TYPE_CHECKING:
    from tunegate.reconcile.finetunejob.draft import (
        Draft,  # with the operator's libraries, which the command line lacks
    )

MONTHS = {"Month": 1, "Quarter": 3}
COUNTED = ("JobFinished", "BudgetReserved")
"""Records that say what trainings took or hold."""


@dataclass(frozen=True)
class Amount:
    """Device hours, and money in the budget's currency."""

    hours: float = 0.0
    cost: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.hours + other.hours, self.cost + other.cost)

    def within(self, budget: NamespaceBudget) -> bool:
        """Tell whether the budget allows so much in all."""
        return not any(used > allowed for used, allowed, _ in _sides(self, budget))


def over_budget(seen: Observed, inputs: Inputs, stage: StageName, now: datetime) -> Blocked | None:
    """Return why the job may not begin ``stage``: its training is too large for any period, or for the rest of this one.

    A training that has begun is not asked again: what it needs is counted already.
    """
    budget, job = inputs.policy.spec.budget, seen.job
    if (
        budget is None
        or job.spec.method is None
        or job.status.estimates is None
        or job.status.stage("Train").attempt > 0
    ):
        return None
    need = _estimate(job, budget)
    refused = never_within(inputs.pool, inputs.policy, need)
    if refused is not None or stage != "Train":
        return refused
    start, end = period(budget, now)
    taken = spent(seen, budget, start)
    for other in _before(seen):
        # Those that came before and fit are about to begin; one that does not fit stands in nobody's way.
        wanted = taken + _estimate(other, budget)
        taken = wanted if wanted.within(budget) else taken
    if (taken + need).within(budget):
        return None
    return Blocked(
        JobReason.WAITING_FOR_BUDGET,
        f"The training is estimated at {_text(need, budget)}, but {_text(taken, budget)} of {_limits(budget)} that "
        f"ApprovalPolicy {inputs.policy.name} allows this {budget.period.lower()} are used or held by other jobs. The "
        f"{budget.period.lower()} ends at {rfc3339(end)}; the job goes on then, or as soon as enough is left.",
    )


def never_within(pool: ComputePool, owner: ApprovalPolicy, need: Amount) -> Blocked | None:
    """Return why a training that takes so much on the pool can't begin in any period of the policy's budget."""
    budget, policy = owner.spec.budget, owner.name
    if budget is None:
        return None
    if budget.currency not in (None, pool.spec.currency):
        return Blocked(
            JobReason.NOT_ALLOWED,
            f"ComputePool {pool.name} is priced in {pool.spec.currency}, the budget of ApprovalPolicy {policy} is in "
            f"{budget.currency}. Create a new job on a pool that is priced in {budget.currency}.",
            final=True,
        )
    if not need.within(budget):
        return Blocked(
            JobReason.BUDGET_EXCEEDED,
            f"The training is estimated at {_text(need, budget)}; ApprovalPolicy {policy} allows {_limits(budget)} "
            f"a {budget.period.lower()} in all. Create a smaller job, or ask the policy's owner for more.",
            final=True,
        )
    return None


def reserve(draft: Draft, budget: NamespaceBudget) -> None:
    """Record what a training will take, before it begins."""
    estimates = draft.job.status.estimates
    if estimates is not None:
        payload = {"deviceHours": estimates.device_hours, "cost": estimates.cost, "currency": estimates.currency}
        draft.record("BudgetReserved", {**payload, "period": budget.period})


def period(budget: NamespaceBudget, now: datetime) -> tuple[datetime, datetime]:
    """Return begin and end of the period of the calendar, in UTC, in which ``now`` lies."""
    length = MONTHS[budget.period]
    moment = now.astimezone(UTC)
    first = (moment.month - 1) // length * length
    start = datetime(moment.year, first + 1, 1, tzinfo=UTC)
    return start, datetime(moment.year + (first + length) // 12, (first + length) % 12 + 1, 1, tzinfo=UTC)


def spent(seen: Observed, budget: NamespaceBudget, start: datetime) -> Amount:
    """Return what trainings of the namespace, but for the job itself, took since ``start`` or hold now."""
    records = [record for record in seen.namespace_records if datetime.fromisoformat(record.time) >= start]
    ended = {record.subject.uid: record.payload for record in records if record.type == "JobFinished"}
    reserved = {record.subject.uid: record.payload for record in records if record.type == "BudgetReserved"}
    live = [job for job in seen.namespace_jobs if job.uid not in ended and not job.status.ended]
    present = {job.uid for job in seen.namespace_jobs}
    deleted = [payload for uid, payload in reserved.items() if uid not in ended and uid not in present]
    amounts = [_recorded(payload, budget) for payload in [*ended.values(), *deleted]]
    amounts += [_held(job, budget) for job in live if job.uid != seen.job.uid]
    return sum(amounts, Amount())


def _before(seen: Observed) -> list[FineTuneJob]:
    """Return the jobs that wait to begin their training and were created before this one, oldest first."""
    waiting = [
        job
        for job in seen.namespace_jobs
        if job.spec.method is not None
        and not job.status.ended
        and not job.spec.suspend
        and not job.metadata.get("deletionTimestamp")
        and job.status.stage("Baseline").state == "Done"
        and job.status.stage("Train").attempt == 0
    ]
    return [job for job in sorted(waiting, key=_age) if _age(job) < _age(seen.job)]


def _held(job: FineTuneJob, budget: NamespaceBudget) -> Amount:
    """Return what a job that has not ended took or will take; nothing before its training has begun."""
    train, used = job.status.stage("Train"), _used(job, budget)
    if train.attempt == 0 or train.state == "Done":
        return used
    expected = _estimate(job, budget)
    return Amount(max(used.hours, expected.hours), max(used.cost, expected.cost))


def _used(job: FineTuneJob, budget: NamespaceBudget) -> Amount:
    status = job.status
    same = status.pool is not None and status.pool.currency == budget.currency
    return Amount(float(status.device_hours or 0), float(status.cost or 0) if same else 0.0)


def _estimate(job: FineTuneJob, budget: NamespaceBudget) -> Amount:
    found = job.status.estimates
    if found is None:
        return Amount()
    return Amount(float(found.device_hours), float(found.cost) if found.currency == budget.currency else 0.0)


def _recorded(payload: Mapping[str, str], budget: NamespaceBudget) -> Amount:
    cost = float(payload.get("cost", 0)) if payload.get("currency") == budget.currency else 0.0
    return Amount(float(payload.get("deviceHours", 0)), cost)


def _sides(amount: Amount, budget: NamespaceBudget) -> Iterator[tuple[float, float, str]]:
    """Yield (used, allowed, unit) for each limit that the budget has."""
    if budget.max_device_hours is not None:
        yield amount.hours, float(budget.max_device_hours), "device hours"
    if budget.max_cost is not None:
        yield amount.cost, float(budget.max_cost), str(budget.currency)


def _text(amount: Amount, budget: NamespaceBudget) -> str:
    return " and ".join(f"{plain(used)} {unit}" for used, _, unit in _sides(amount, budget))


def _limits(budget: NamespaceBudget) -> str:
    return " and ".join(f"{plain(allowed)} {unit}" for _, allowed, unit in _sides(Amount(), budget))


def _age(job: FineTuneJob) -> tuple[str, str]:
    return str(job.metadata.get("creationTimestamp", "")), job.uid
