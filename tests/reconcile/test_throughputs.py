"""What finished trainings teach a pool, and what estimates make of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.builders import make_computepool, make_finetunejob
from tests.support.stage_documents import trained
from tunegate.api.computepool import ComputePool, Throughput
from tunegate.api.finetunejob.status import Estimates, StageStatus
from tunegate.reconcile.measurements import PoolRun, measurements_of
from tunegate.reconcile.throughputs import KEPT, learn, learned, measured

Json = dict[str, Any]


def pool(*known: Throughput, made: str = "2026-01-01T00:00:00Z") -> ComputePool:
    raw = make_computepool()
    raw["metadata"]["creationTimestamp"] = made
    return ComputePool.model_validate({**raw, "status": {"throughputs": [entry.to_dict() for entry in known]}})


def run(number: int, value: float, *, on: str = "pool", method: str = "LoRA", **status: Any) -> Json:
    """A job that ended its training at minute ``number``."""
    raw = make_finetunejob(f"job-{number}", method={"type": method})
    raw["metadata"]["uid"] = f"uid-{number}"
    terms = {"name": on, "pricePerDeviceHour": "1", "currency": "USD"}
    stage = {"name": "Train", "state": "Done", "completionTime": f"2026-02-01T00:{number:02}:00Z"}
    return {**raw, "status": {"pool": terms, "throughput": str(value), "stages": [stage], **status}}


def runs(*jobs: Json) -> list[PoolRun]:
    """What the jobs measured on pools."""
    return [one.run for job in jobs if (one := measurements_of(job)) is not None and one.run is not None]


def estimates(hours: str = "0.1", throughput: str | None = "10") -> Estimates:
    return Estimates(
        trainable_parameters=1,
        adapter_bytes=1,
        peak_memory_bytes=1,
        device_hours=hours,
        cost="0",
        currency="USD",
        throughput=throughput,
        smallest_visible_gain="0.1",
    )


def test_a_training_measures_the_throughput_with_which_its_estimate_would_have_been_right() -> None:
    """0.1 device hours were expected at 10 tokens/s; 300 s on one device make 12, on two devices 6."""
    once = StageStatus(name="Train", attempt=1)

    assert measured(estimates(), once, trained()) == "12"
    assert measured(estimates(), once, trained().model_copy(update={"world_size": 2})) == "6"


@pytest.mark.parametrize(
    ("attempt", "change", "expected"),
    [
        (2, {}, estimates()),
        (1, {"resumed_from_step": 12}, estimates()),
        (1, {"outcome": "Diverged"}, estimates()),
        (1, {"seconds": 0.0}, estimates()),
        (1, {}, estimates("inf")),
        (1, {}, estimates("0", None)),
        (1, {}, None),
    ],
)
def test_a_training_that_was_stopped_or_has_no_sound_estimate_measures_nothing(
    attempt: int, change: Json, expected: Estimates | None
) -> None:
    record = StageStatus(name="Train", attempt=attempt)

    assert measured(expected, record, trained().model_copy(update=change)) is None


def test_runs_are_kept_by_method_and_one_odd_run_does_not_move_the_median() -> None:
    jobs = [run(1, 10), run(2, 11), run(3, 900), run(4, 5, method="QLoRA"), run(5, 7, on="other")]

    lora, qlora = learn(pool(), runs(*jobs))

    assert (lora.method, lora.runs, lora.last, lora.median) == ("LoRA", 3, "900", "11")
    assert (qlora.method, qlora.runs, qlora.median) == ("QLoRA", 1, "5")


def test_a_job_that_measured_nothing_or_did_not_train_teaches_nothing() -> None:
    assert learn(pool(), runs(run(1, 10, throughput=None), run(2, 10, pool=None), run(3, 10, stages=[]))) == []


def test_a_run_counts_once_whenever_and_in_whatever_order_it_is_seen() -> None:
    table = learn(pool(), runs(run(2, 10)))
    table = learn(pool(*table), runs(run(2, 10), run(1, 20)))
    again = learn(pool(*table), runs(run(2, 10), run(1, 20)))

    assert again == table
    assert (table[0].runs, table[0].last) == (2, "10")


def test_the_table_stays_small_and_an_old_run_does_not_come_back() -> None:
    jobs = [run(number, number) for number in range(1, 41)]
    table = learn(pool(), runs(*jobs))

    assert (table[0].runs, len(table[0].recent), table[0].last) == (40, KEPT, "40")
    assert learn(pool(*table), runs(*jobs)) == table
    assert learn(pool(*table), []) == table, "deleted jobs are remembered"


def test_a_pool_that_was_made_again_begins_anew() -> None:
    assert learn(pool(made="2026-02-01T00:01:30Z"), runs(run(1, 10), run(2, 12)))[0].runs == 1


def test_estimates_trust_two_runs_and_not_one() -> None:
    one, two = (learn(pool(), runs(*(run(number, 10) for number in range(count)))) for count in (1, 2))

    assert learned(pool(*one), "LoRA") is None
    found = learned(pool(*two), "LoRA")
    assert found is not None
    assert (found.tokens_per_second, found.runs) == ("10", 2)
    assert learned(pool(*two), "QLoRA") is None
