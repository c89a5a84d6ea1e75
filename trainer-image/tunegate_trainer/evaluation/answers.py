"""Every answer is kept beside its question and its score: people can see what is wrong, and the gate can be computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from tunegate.api.answers import AnsweredQuestion, AnswersHead, GivenAnswer, of_lines, to_lines
from tunegate.api.normalization import NORMALIZATION
from tunegate.errors import shorten
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.engine import Reply
from tunegate_trainer.evaluation.metrics import Metric
from tunegate_trainer.evaluation.questions import Suite


def write(answers: Mapping[str, Sequence[Reply]], suite: Suite, metric: Metric) -> bytes:
    """Return the document; ``answers``: each arm's replies in the order of the questions."""
    given = {arm: _scored(replies, suite, metric) for arm, replies in answers.items()}
    head = AnswersHead(
        normalization=NORMALIZATION, metric=metric.name, questions=len(suite.rows), arms=list(answers)
    )  # fmt: skip
    questions = [
        AnsweredQuestion(
            question=row.number,
            group=group,
            asked=row.prompt,
            expected=row.answer,
            answers={arm: scored[at] for arm, scored in given.items()},
        )
        for at, (row, group) in enumerate(zip(suite.rows, suite.groups, strict=True))
    ]
    return to_lines(head, questions)


def read(content: bytes, suite: Suite) -> dict[str, list[Reply]]:
    """Return each arm's replies in the order of the questions. Raises ``BadInput`` unless all are there once."""
    try:
        head, questions = of_lines(content)
    except ValidationError as error:
        raise BadInput("the kept answers are no answers of this version") from error
    if head.normalization != NORMALIZATION:
        raise BadInput(f"answers were judged by {shorten(head.normalization)}, this image judges by {NORMALIZATION}")
    kept = [(one.question, one.asked, one.expected) for one in questions]
    if kept != [(row.number, row.prompt, row.answer) for row in suite.rows]:
        raise BadInput("the kept answers do not belong to the questions of the suite")
    if any(set(one.answers) != set(head.arms) for one in questions):
        raise BadInput("the kept answers are not those of each arm to each question")
    return {arm: [_reply(one.answers[arm]) for one in questions] for arm in head.arms}


def _scored(replies: Sequence[Reply], suite: Suite, metric: Metric) -> list[GivenAnswer]:
    scores = metric.each([reply.text for reply in replies], suite.expected)
    return [
        GivenAnswer(answer=reply.text, finish=reply.finish, shortened=reply.shortened, score=round(score, 6))
        for reply, score in zip(replies, scores, strict=True)
    ]


def _reply(given: GivenAnswer) -> Reply:
    return Reply(given.answer, given.finish, given.shortened)
