"""The arms that ask the base model: plain and with examples, each also with guided decoding where there is a schema."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.api.evaluationsuite import ArmName, EvaluationSuiteSpec
from tunegate.api.stages import BASE_SERVED_NAME
from tunegate_trainer.evaluation import alternatives
from tunegate_trainer.evaluation.engine import Ask, Engine, Reply
from tunegate_trainer.evaluation.prompts import choose_shots, shrinking
from tunegate_trainer.evaluation.questions import Suite, Training

Show = Callable[[int, int, str], None]
"""Progress: answers so far, answers in all, and which arm is being asked."""


@dataclass(frozen=True)
class ArmAnswers:
    """One arm's replies in the order of the questions, and how long they took."""

    name: ArmName
    replies: Sequence[Reply]
    seconds: float

    @property
    def texts(self) -> list[str]:
        return [reply.text for reply in self.replies]


def base_arm_names(spec: EvaluationSuiteSpec) -> list[ArmName]:
    """Return the arms of the base model for a suite."""
    names: list[ArmName] = ["BasePlain", "BaseFewShot"]
    return [*names, "BasePlainGuided", "BaseFewShotGuided"] if spec.task.json_schema else names


def plain_asks(suite: Suite, spec: EvaluationSuiteSpec, schema: Mapping[str, Any] | None = None) -> list[Ask]:
    """Return the questions as they are; this is also how the tuned model is asked."""
    return [Ask([row.prompt], spec.task.max_tokens, schema) for row in suite.rows]


def asks_of(name: ArmName, spec: EvaluationSuiteSpec, suite: Suite, training: Training) -> list[Ask]:
    """Return what the base model is asked in an arm."""
    schema = json.loads(spec.task.json_schema) if spec.task.json_schema and name.endswith("Guided") else None
    if not name.startswith("BaseFewShot"):
        return plain_asks(suite, spec, schema)
    shots = choose_shots(training, spec.few_shot)
    return [Ask(shrinking(row, shots, spec.few_shot.system_prompt), spec.task.max_tokens, schema) for row in suite.rows]


async def ask_everybody(
    engine: Engine, spec: EvaluationSuiteSpec, suite: Suite, training: Training, *, seed: int, show: Show
) -> list[ArmAnswers]:
    """Let every alternative answer, those that cost nothing first."""
    free, base = alternatives.names_of(spec), base_arm_names(spec)
    questions = len(suite.rows)
    total = questions * len(base)
    arms = []
    for name in free:
        show(0, total, name)
        started = time.monotonic()
        texts = alternatives.answer(name, spec, suite, training)
        arms.append(ArmAnswers(name, [Reply(text, "stop") for text in texts], time.monotonic() - started))
    for position, name in enumerate(base):
        before = position * questions

        def seen(count: int, before: int = before, name: str = name) -> None:
            show(before + count, total, name)

        started = time.monotonic()
        replies = await engine.ask_all(BASE_SERVED_NAME, asks_of(name, spec, suite, training), seed=seed, seen=seen)
        arms.append(ArmAnswers(name, replies, time.monotonic() - started))
    return arms
