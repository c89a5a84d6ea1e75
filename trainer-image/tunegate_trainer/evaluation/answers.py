"""Every answer is kept: evaluation owners and reviewers can read what was said, and the gate can be computed again.

The document lies in a repository of its own, because it quotes the suite's questions by number only but the models'
words in full; no log, status or result holds any of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.engine import Reply
from tunegate_trainer.evaluation.normalization import NORMALIZATION
from tunegate_trainer.evaluation.questions import Suite

TUNED = "Tuned"


def write(answers: Mapping[str, Sequence[Reply]], suite: Suite) -> bytes:
    """Return JSON lines: a head, then one line for each arm and question, numbered by the suite's rows from 1."""
    head = {"normalization": NORMALIZATION, "questions": len(suite.rows), "arms": list(answers)}
    lines = [head]
    for arm, replies in answers.items():
        for row, group, reply in zip(suite.rows, suite.groups, replies, strict=True):
            lines.append({
                "arm": arm,
                "question": row.number,
                "group": group,
                "answer": reply.text,
                "finish": reply.finish,
                "shortened": reply.shortened,
            })  # fmt: skip
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def read(content: bytes, suite: Suite) -> dict[str, list[str]]:
    """Return the answers of each arm in the order of the questions. Raises ``BadInput`` unless all are there once."""
    head, *lines = [json.loads(line) for line in content.decode().splitlines()]
    if head.get("normalization") != NORMALIZATION:
        raise BadInput(f"answers were judged by {head.get('normalization')}, this image judges by {NORMALIZATION}")
    numbers = [row.number for row in suite.rows]
    answers: dict[str, list[str]] = {}
    for arm in head["arms"]:
        given = [line for line in lines if line["arm"] == arm]
        if [line["question"] for line in given] != numbers:
            raise BadInput(f"answers of {arm} do not belong to the questions of the suite")
        answers[arm] = [line["answer"] for line in given]
    return answers
