"""What finished trainings teach about a pool's speed: from one job's measure to the pool's table, and back to estimates.

The unit is that of ``ComputePool.spec.throughput``: training tokens per second of one device, for a model of a billion
parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from statistics import median

from tunegate.api.computepool import ComputePool, MeasuredRun, Throughput
from tunegate.api.finetunejob.status import Estimates, StageStatus
from tunegate.api.numbers import plain
from tunegate.api.shared import MethodType
from tunegate.api.stage.configs import LearnedThroughput
from tunegate.api.stage.results import TrainResult
from tunegate.reconcile.measurements import PoolRun

KEPT = 15
"""Runs that the median is taken of: more would only make it slow to follow a change of the nodes or the image."""
ENOUGH = 2
"""One run alone may have been an odd one."""


def measured(estimates: Estimates | None, train: StageStatus, result: TrainResult) -> str | None:
    """Return the throughput with which the estimate of this training would have been right, or None.

    The work is taken from the estimate and not from ``result.tokens``, since evaluations on the way take time as well.
    A training that was stopped and went on measures nothing: what it did twice, and each start, is in its seconds only.
    """
    if estimates is None or estimates.throughput is None or result.outcome != "Passed":
        return None
    if train.attempt != 1 or result.resumed_from_step:
        return None
    taken = result.seconds * result.world_size
    expected = float(estimates.device_hours) * 3600
    value = float(estimates.throughput) * expected / taken if taken > 0 else 0.0
    return plain(value) if 0 < value < 1e9 else None


def learn(pool: ComputePool, runs: Iterable[PoolRun]) -> list[Throughput]:
    """Return the pool's table with those of ``runs`` that it does not hold yet.

    A run counts once, whenever it is seen: newer than the oldest one kept, and none of those that are kept. One from before
    the pool was made is not about it: a pool that was made again under its name may have other nodes.
    """
    table = {entry.method: entry for entry in pool.status.throughputs}
    own = [one for one in runs if one.pool == pool.name and _since_it_was_made(pool, one)]
    for one in sorted(own, key=lambda found: _order(found.run)):
        table[one.method] = _with_run(table.get(one.method), one.method, one.run)
    return [table[method] for method in sorted(table)]


def learned(pool: ComputePool, method: MethodType) -> LearnedThroughput | None:
    """Return what estimates for ``method`` are to use instead of the pool's spec; None while too few runs were measured."""
    found = next((entry for entry in pool.status.throughputs if entry.method == method), None)
    if found is None or found.runs < ENOUGH:
        return None
    return LearnedThroughput(tokens_per_second=found.median, runs=found.runs)


def _since_it_was_made(pool: ComputePool, one: PoolRun) -> bool:
    return datetime.fromisoformat(one.run.time) >= datetime.fromisoformat(pool.metadata["creationTimestamp"])


def _with_run(entry: Throughput | None, method: MethodType, run: MeasuredRun) -> Throughput:
    kept, runs = (entry.recent, entry.runs) if entry else ([], 0)
    known = any(one.job_uid == run.job_uid for one in kept)
    if entry and (known or (len(kept) == KEPT and _order(run) <= _order(kept[0]))):
        return entry
    recent = sorted([*kept, run], key=_order)[-KEPT:]
    return Throughput(
        method=method,
        runs=runs + 1,
        last=recent[-1].value,
        median=plain(median(float(one.value) for one in recent)),
        recent=recent,
    )


def _order(run: MeasuredRun) -> tuple[datetime, str]:
    return datetime.fromisoformat(run.time), run.job_uid
