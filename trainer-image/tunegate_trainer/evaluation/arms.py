"""The arms that ask the base model: plain, with examples, with examples or passages found for each question, as the author would.

Plain and few-shot are asked with and without guided decoding where the suite has a schema, so that people see what it is
worth; the others with it only, since it is what one would use and every arm costs the engine as much time again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.api.evaluationsuite import ArmName, EvaluationSuiteSpec
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate_trainer.data.rows import Row
from tunegate_trainer.evaluation import alternatives
from tunegate_trainer.evaluation.documents import PASSAGES
from tunegate_trainer.evaluation.engine import Ask, Engine, Reply
from tunegate_trainer.evaluation.prompts import choose_shots, shrinking, shrinking_passages, similar_shots
from tunegate_trainer.evaluation.questions import Suite, Training
from tunegate_trainer.evaluation.retrieval import nearest_texts

Show = Callable[[int, int, str], None]
"""Progress: answers so far, answers in all, and which arm is being asked."""


GUIDED = "Guided"
"""End of an arm's name."""


@dataclass(frozen=True)
class Author:
    """What the job's author holds against tuning."""

    prompt: str | None = None
    passages: Sequence[str] = ()
    """All that may be shown with a question."""


@dataclass(frozen=True)
class ArmAnswers:
    """One arm's replies in the order of the questions, and how long they took."""

    name: ArmName
    replies: Sequence[Reply]
    seconds: float

    @property
    def texts(self) -> list[str]:
        return [reply.text for reply in self.replies]


def base_arm_names(spec: EvaluationSuiteSpec, author: Author) -> list[ArmName]:
    """Return the arms of the base model for a suite and what the job's author holds against tuning."""
    guided = spec.task.json_schema is not None
    names: list[ArmName] = ["BasePlain", "BaseFewShot"]
    if guided:
        names += ["BasePlainGuided", "BaseFewShotGuided"]
    if spec.baselines.retrieved_shots:
        names.append("BaseRetrievedShotsGuided" if guided else "BaseRetrievedShots")
    if author.prompt:
        names.append("BaseAuthorPromptGuided" if guided else "BaseAuthorPrompt")
    if author.passages:
        names.append("BaseRetrievalGuided" if guided else "BaseRetrieval")
    return names


def plain_asks(suite: Suite, spec: EvaluationSuiteSpec, schema: Mapping[str, Any] | None = None) -> list[Ask]:
    """Return the questions as they are."""
    return [Ask([row.prompt], spec.task.max_tokens, schema) for row in suite.rows]


def tuned_asks(suite: Suite, spec: EvaluationSuiteSpec) -> list[Ask]:
    """Return the questions as the tuned model gets them: as they are, with the answer's form where the suite is guided."""
    guided = spec.task.decoding == "Guided" and spec.task.json_schema is not None
    return plain_asks(suite, spec, json.loads(spec.task.json_schema or "") if guided else None)


def asks_of(name: ArmName, spec: EvaluationSuiteSpec, suite: Suite, training: Training, author: Author) -> list[Ask]:
    """Return what the base model is asked in an arm, question by question."""
    schema = json.loads(spec.task.json_schema) if spec.task.json_schema and name.endswith(GUIDED) else None
    few_shot, prompt = spec.few_shot, spec.few_shot.system_prompt
    match name.removesuffix(GUIDED):
        case "BaseFewShot":
            shots: Sequence[Sequence[Row]] = [choose_shots(training, few_shot)] * len(suite.rows)
        case "BaseRetrievedShots":
            shots = similar_shots(suite.rows, training.rows, few_shot.shots)
        case "BaseAuthorPrompt":
            shots, prompt = [[]] * len(suite.rows), author.prompt
        case "BaseRetrieval":
            found = nearest_texts(suite.rows, author.passages, PASSAGES)
            return [
                Ask(shrinking_passages(row, passages, author.prompt or prompt), spec.task.max_tokens, schema)
                for row, passages in zip(suite.rows, found, strict=True)
            ]
        case _:
            return plain_asks(suite, spec, schema)
    return [
        Ask(shrinking(row, chosen, prompt), spec.task.max_tokens, schema)
        for row, chosen in zip(suite.rows, shots, strict=True)
    ]


async def ask_everybody(
    engine: Engine,
    spec: EvaluationSuiteSpec,
    suite: Suite,
    training: Training,
    *,
    author: Author,
    seed: int,
    show: Show,
) -> list[ArmAnswers]:
    """Let every alternative answer, those that cost nothing first."""
    free, base = alternatives.names_of(spec), base_arm_names(spec, author)
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
        asks = asks_of(name, spec, suite, training, author)
        replies = await engine.ask_all(BASE_SERVED_NAME, asks, seed=seed, seen=seen)
        arms.append(ArmAnswers(name, replies, time.monotonic() - started))
    return arms
