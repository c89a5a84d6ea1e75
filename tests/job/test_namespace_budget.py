"""A namespace's budget: what counts, who waits, who is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.builders import DIGEST, make_finetunejob
from tests.support.job_world import World, condition, run_to
from tests.support.stage_documents import NAMESPACE, trained, validated
from tunegate.api.approvalpolicy import NamespaceBudget
from tunegate.api.auditrecord import AuditRecordSpec, AuditSubject, EventType
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.reconcile.finetunejob.budget import period

Json = dict[str, Any]
TEN_HOURS: Json = {"period": "Month", "maxDeviceHours": "10"}
HOURS, COST = 2.0, 4.0
"""What the job of the tests is estimated at."""


def record(
    uid: str, hours: str, type_: EventType = "JobFinished", time: str = "2026-11-01T00:00:00Z", **payload: str
) -> AuditRecordSpec:
    return AuditRecordSpec(
        sequence=1,
        event_id=DIGEST,
        time=time,
        type=type_,
        actor="operator",
        subject=AuditSubject(kind="FineTuneJob", namespace=NAMESPACE, name=uid, uid=uid),
        payload={"deviceHours": hours, **payload},
        previous_hash=DIGEST,
        hash=DIGEST,
    )


def neighbor(
    uid: str, hours: str, *, train: Json, made: str = "2026-10-01T00:00:00Z", spec: Json | None = None, **status: Any
) -> FineTuneJob:
    """Another job of the namespace, estimated at so many hours and as much money."""
    raw = make_finetunejob(uid, NAMESPACE, **(spec or {}))
    raw["metadata"] |= {"uid": uid, "creationTimestamp": made}
    estimates = {
        "trainableParameters": 1, "adapterBytes": 1, "peakMemoryBytes": 1, "deviceHours": hours, "cost": hours,
        "currency": "USD", "smallestVisibleGain": "0.1",
    }  # fmt: skip
    stages = [{"name": "Validate", "state": "Done"}, {"name": "Baseline", "state": "Done"}, {"name": "Train", **train}]
    return FineTuneJob.model_validate({**raw, "status": {"estimates": estimates, "stages": stages, **status}})


RUNNING: Json = {"state": "Running", "attempt": 1}
WAITING: Json = {"state": "Waiting", "attempt": 0}


def before_training(budget: Json, **world: Any) -> World:
    """A world whose job has passed validation and baseline and was looked at once more."""
    made = World(budget=budget, pool={"pricePerDeviceHour": "2"}, **world)
    made.answer(run_to(made, "Validate"), validated(device_hours=HOURS, cost=COST, throughput=10.0))
    made.sync_jobs()
    made.reconcile()
    for _ in range(3):
        made.reconcile()
        made.make_pods()
        made.run_pods()
        for pod in made.active_pods():
            if pod["metadata"]["labels"]["tunegate.io/stage"] == "Baseline":
                made.answer(pod)
        made.sync_jobs()
    return made


def trains(world: World) -> bool:
    return any(stage["name"] == "Train" and stage["attempt"] > 0 for stage in world.status["stages"])


def test_a_training_within_the_budget_is_recorded_before_it_begins_and_when_it_ends() -> None:
    world = World(budget=TEN_HOURS, pool={"pricePerDeviceHour": "2"})
    world.answer(run_to(world, "Validate"), validated(device_hours=HOURS, cost=COST, throughput=10.0))
    world.answer(run_to(world, "Train"), trained())
    world.settle()

    types = [entry.type for entry in world.entries]
    reserved = world.entries[types.index("BudgetReserved")]
    assert types == ["JobRequested", "BudgetReserved", "AdapterSealed", "SuiteAsked", "JobFinished"]
    assert reserved.payload == {"deviceHours": "2", "cost": "4", "currency": "USD", "period": "Month"}


@pytest.mark.parametrize(
    ("facts", "begins"),
    [
        ({"records": [record("a", "8")]}, True),
        ({"records": [record("a", "8.1")]}, False),
        ({"records": [record("a", "99", time="2026-10-31T23:59:59Z")]}, True),
        ({"records": [record("gone", "9", "BudgetReserved")]}, False),
        ({"records": [record("a", "9", "BudgetReserved"), record("a", "1")]}, True),
        ({"neighbors": [neighbor("b", "9", train=RUNNING)]}, False),
        ({"neighbors": [neighbor("b", "1", train=RUNNING, deviceHours="9")]}, False),
        ({"neighbors": [neighbor("b", "9", train={"state": "Done", "attempt": 1}, deviceHours="1")]}, True),
        ({"neighbors": [neighbor("b", "9", train=RUNNING)], "records": [record("b", "9", "BudgetReserved")]}, False),
        ({"neighbors": [neighbor("b", "9", train=RUNNING)], "records": [record("b", "1")]}, True),
        ({"neighbors": [neighbor("b", "9", train=RUNNING, phase="Failed")]}, True),
    ],
    ids=[
        "what is left is enough", "what is left is too little", "an earlier period does not count",
        "a deleted job counts by its estimate", "an ended one by what it used", "a running one by its estimate",
        "or by what it used", "a trained one by what it used only", "once, not twice", "ended while it was read",
        "ended in an earlier period",
    ],
)  # fmt: skip
def test_what_others_of_the_namespace_used_or_hold_decides(facts: Json, begins: bool) -> None:
    world = before_training(TEN_HOURS, **facts)

    assert trains(world) is begins


def test_a_job_without_budget_left_waits_says_how_much_is_left_and_goes_on_in_the_next_period() -> None:
    world = before_training(TEN_HOURS, records=[record("a", "9")])

    found = condition(world.status, "Complete")
    assert (world.status["phase"], found["status"], found["reason"]) == ("Queued", "Unknown", "WaitingForBudget")
    assert "estimated at 2 device hours, but 9 device hours of 10 device hours" in world.status["message"]
    assert "2026-12-01T00:00:00Z" in world.status["message"]

    world.now = datetime(2026, 12, 1, 0, 1, tzinfo=UTC)
    world.reconcile()
    assert trains(world)


def test_an_estimate_above_the_whole_budget_is_refused_before_the_baseline() -> None:
    world = before_training({"period": "Quarter", "maxCost": "3.5", "currency": "USD"})

    assert (world.status["phase"], condition(world.status, "Complete")["reason"]) == ("Failed", "BudgetExceeded")
    assert "estimated at 4 USD" in world.status["message"]
    assert "allows 3.5 USD a quarter in all" in world.status["message"]
    assert len(world.history) == 1, "only the validation ran"


def test_money_counts_in_the_currency_of_the_budget_only() -> None:
    money = {"period": "Month", "maxCost": "10", "currency": "USD"}

    dollars = before_training(money, records=[record("a", "1", cost="9", currency="USD")])
    francs = before_training(money, records=[record("a", "1", cost="9", currency="CHF")])

    assert (trains(dollars), trains(francs)) == (False, True)


def test_a_pool_that_is_priced_in_another_currency_is_refused() -> None:
    world = before_training({"period": "Month", "maxCost": "10", "currency": "CHF"})

    assert condition(world.status, "Complete")["reason"] == "NotAllowed"
    assert "priced in USD" in world.status["message"]


@pytest.mark.parametrize(
    ("other", "begins"),
    [
        (neighbor("older", "9", train=WAITING), False),
        (neighbor("younger", "9", train=WAITING, made="2026-12-01T00:00:00Z"), True),
        (neighbor("too-large", "10.5", train=WAITING), True),
        (neighbor("resting", "9", train=WAITING, spec={"suspend": True}), True),
    ],
    ids=lambda value: value.name if isinstance(value, FineTuneJob) else None,
)
def test_of_jobs_that_become_ready_together_the_older_one_that_fits_goes_first(
    other: FineTuneJob, begins: bool
) -> None:
    world = before_training(TEN_HOURS, neighbors=[other])

    assert trains(world) is begins


def test_a_training_that_has_begun_is_not_asked_again() -> None:
    world = World(budget=TEN_HOURS)
    world.answer(run_to(world, "Validate"), validated(device_hours=HOURS, throughput=10.0))
    pod = run_to(world, "Train")
    world.records.append(record("a", "10"))
    world.evict(pod)
    world.sync_jobs()
    world.reap()
    world.reconcile()
    world.reconcile()

    assert world.status["stages"][2]["attempt"] == 2


@pytest.mark.parametrize(
    ("length", "month", "start", "end"),
    [
        ("Month", 11, "2026-11-01", "2026-12-01"),
        ("Month", 12, "2026-12-01", "2027-01-01"),
        ("Quarter", 1, "2026-01-01", "2026-04-01"),
        ("Quarter", 9, "2026-07-01", "2026-10-01"),
        ("Quarter", 12, "2026-10-01", "2027-01-01"),
    ],
)
def test_periods_are_those_of_the_calendar(length: Any, month: int, start: str, end: str) -> None:
    found = period(NamespaceBudget(period=length, max_device_hours="1"), datetime(2026, month, 30, 23, tzinfo=UTC))

    assert [moment.date().isoformat() for moment in found] == [start, end]
