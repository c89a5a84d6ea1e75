"""The losses of a training as pairs of step and loss: from its result in the registry, or from what its pods print. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.results import TrainResult

TRAINING, DEVELOPMENT = "train/loss", "train/development_loss"
"""Fields of the event `TrainingStep` in a training's log."""
Points = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Curves:
    """Losses by step, in ascending order of steps."""

    training: Points = ()
    development: Points = ()
    best_step: int | None = None
    """The step whose checkpoint was kept; None while nobody knows."""

    @property
    def known(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.training or self.development)


@dataclass(frozen=True)
class Bar:
    """A score at the gate."""

    name: str
    score: float
    outcome: str
    """Of the tuned model the gate's; of an alternative, the verdict against it."""


def of_result(result: TrainResult) -> Curves:
    """Return the losses of a training that has ended."""
    return Curves(_finite(result.loss_history), _finite(result.development_history), result.best_step)


def of_log(lines: Iterable[str]) -> Curves:
    """Return the losses that a log tells, of all attempts in their order: a step that was repeated counts as it was last."""
    found: Mapping[str, dict[int, float]] = {TRAINING: {}, DEVELOPMENT: {}}
    for line in lines:
        told = _step(line)
        for name, points in found.items():
            if isinstance(told.get(name), int | float) and isinstance(told.get("step"), int):
                points[told["step"]] = float(told[name])
    return Curves(_finite(found[TRAINING].items()), _finite(found[DEVELOPMENT].items()))


def bars(job: FineTuneJob) -> list[Bar]:
    """Return the scores on the gate's metric, best first; none before the gate."""
    gate = job.status.gate
    if gate is None:
        return []
    alternatives = [Bar(arm.name, float(arm.score), arm.outcome) for arm in gate.arms]
    return [Bar("tuned", float(gate.tuned), gate.outcome), *sorted(alternatives, key=lambda bar: -bar.score)]


def _step(line: str) -> dict[str, Any]:
    if '"TrainingStep"' not in line:
        return {}
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and told.get("event") == "TrainingStep" else {}


def _finite(points: Iterable[tuple[int, float]]) -> Points:
    return tuple(sorted((step, loss) for step, loss in points if math.isfinite(loss)))
