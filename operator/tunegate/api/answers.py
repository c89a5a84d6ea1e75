"""What was answered at the gate, question by question: written by the stages that ask, read by the people who judge.

Every answer stands beside what was asked, what was expected and its score, so that nobody needs the suite's file to see
what went wrong. The document therefore quotes gate data: it lies in a repository of its own, and whoever may read that
must not make training data. No log, status or result holds any of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tunegate.api.evaluationsuite import MetricName
from tunegate.api.markers import StrictModel

TUNED = "Tuned"
"""The tuned model among the arms."""


class AnswersHead(StrictModel):
    """The document's first line."""

    normalization: str
    """Version of the rules by which answers are compared."""
    metric: MetricName
    """The suite's primary one, by which each answer is scored."""
    questions: int
    arms: list[str]
    """``TUNED`` first, where the tuned model was asked; then the alternatives."""


class GivenAnswer(StrictModel):
    """What one arm said to one question."""

    answer: str
    finish: str
    """Why it ended, in the engine's words: `length` is an answer that was cut at `task.maxTokens`."""
    shortened: bool
    """Examples or passages were left out of the prompt, which was too long with them."""
    score: float
    """Of this answer alone, from 0 to 1."""


class AnsweredQuestion(StrictModel):
    """Each further line."""

    question: int
    """Number of the suite's row, from 1."""
    group: str
    asked: list[dict[str, Any]]
    """The question as it stands in the suite: turns with `role` and `content`, without what an alternative adds."""
    expected: str
    answers: dict[str, GivenAnswer]
    """By arm."""


def to_lines(head: AnswersHead, questions: Sequence[AnsweredQuestion]) -> bytes:
    """Return the document: JSON lines."""
    documents = (one.model_dump(mode="json", by_alias=True) for one in (head, *questions))
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents).encode()


def of_lines(content: bytes) -> tuple[AnswersHead, list[AnsweredQuestion]]:
    """Read the document. Raises ``ValidationError`` where it is none."""
    # Bytes, since text would also be split at U+2028 and the like, which may stand in an answer.
    head, _, rest = content.partition(b"\n")
    return (
        AnswersHead.model_validate_json(head),
        [AnsweredQuestion.model_validate_json(line) for line in rest.splitlines()],
    )
