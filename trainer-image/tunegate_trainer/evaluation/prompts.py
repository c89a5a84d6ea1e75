"""What the base model is asked: the question as it is, or with worked examples or passages of documents before it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from tunegate.api.evaluationsuite import ArmName, FewShot
from tunegate_trainer.data.rows import Row
from tunegate_trainer.evaluation.documents import PASSAGES
from tunegate_trainer.evaluation.questions import Training
from tunegate_trainer.evaluation.retrieval import nearest_rows

Messages = Sequence[Mapping[str, str]]


def choose_shots(training: Training, few_shot: FewShot) -> list[Row]:
    """Return ``few_shot.shots`` rows, of as many groups as there are, in an order that only seed and content decide."""

    def rank(row: Row) -> str:
        text = "\0".join([str(few_shot.seed), *(turn["content"] for turn in row.messages)])
        return hashlib.sha256(text.encode()).hexdigest()

    first: list[Row] = []
    further: list[Row] = []
    seen: set[str] = set()
    for row, group in sorted(zip(training.rows, training.groups, strict=True), key=lambda pair: rank(pair[0])):
        (further if group in seen else first).append(row)
        seen.add(group)
    return [*first, *further][: few_shot.shots]


def similar_shots(questions: Sequence[Row], training: Sequence[Row], count: int) -> list[list[Row]]:
    """Return, for each question, its ``count`` nearest training rows, the nearest last, beside the question.

    That nearest examples beat random ones: Liu et al., arXiv 2101.06804, with the same order.
    """
    return [[training[at] for at in reversed(found)] for found in nearest_rows(questions, training, count)]


def with_shots(question: Row, shots: Sequence[Row], system_prompt: str | None) -> Messages:
    """Return the question after worked examples, under the author's instruction where there is one."""
    own = [turn for turn in question.prompt if turn["role"] == "system"]
    turns = [{"role": "system", "content": system_prompt}] if system_prompt else own
    for shot in shots:
        turns = turns + [dict(turn) for turn in shot.messages if turn["role"] != "system"]
    return [*turns, *(turn for turn in question.prompt if turn["role"] != "system")]


def shrinking(question: Row, shots: Sequence[Row], system_prompt: str | None) -> list[Messages]:
    """Return the few-shot prompt and, should it be too long, the same with fewer and fewer examples."""
    return [with_shots(question, shots[:count], system_prompt) for count in range(len(shots), -1, -1)]


def shrinking_passages(question: Row, passages: Sequence[str], system_prompt: str | None) -> list[Messages]:
    """Return the question with passages, the best first, before its last turn and, should that be too long, with fewer.

    Before the last passage goes, half and a quarter of it are tried: how much fits depends on script and tokenizer.
    """
    *before, last = with_shots(question, [], system_prompt)
    shown = [list(passages[:count]) for count in range(len(passages), 0, -1)]
    shown += [[passages[0][: len(passages[0]) // part]] for part in (2, 4) if passages]
    return [
        *([*before, {**last, "content": with_passages(last["content"], some)}] for some in shown),
        [*before, last],
    ]


def with_passages(question: str, passages: Sequence[str]) -> str:
    """Return the text of a question's turn with what was found for it."""
    return "\n\n".join(["Documents:", *passages, "Question:", question])


def describe(arm: ArmName, few_shot: FewShot, author_prompt: str | None) -> str:
    """Return how an arm of the base model asks, as a template without any row of the data."""
    own = "{system turn of the row}"
    system, count, which = own, 0, ""
    asked = "{question of the suite}"
    if arm.startswith("BaseAuthorPrompt"):
        system = author_prompt or own
    elif arm.startswith("BaseRetrieval"):
        system = author_prompt or few_shot.system_prompt or own
        asked = with_passages(asked, [f"{{passage {n}}}" for n in range(1, PASSAGES + 1)])
    elif arm.startswith(("BaseFewShot", "BaseRetrievedShots")):
        system, count = few_shot.system_prompt or own, few_shot.shots
        which = "similar " if arm.startswith("BaseRetrievedShots") else ""
    shots = "".join(f"\nuser: {{{which}question {n}}}\nassistant: {{its answer}}" for n in range(1, count + 1))
    guided = "\n(decoding guided by task.jsonSchema)" if arm.endswith("Guided") else ""
    return f"system: {system}{shots}\nuser: {asked}{guided}"
