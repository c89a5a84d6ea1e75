"""The kept answers of a small gate: every third is wrong, and every sixth is one that the base model answers right."""

from __future__ import annotations

from tunegate.api.answers import AnsweredQuestion, AnswersHead, GivenAnswer, to_lines


def answered_question(number: int) -> AnsweredQuestion:
    right = '{"holder": "Ann"}'
    return AnsweredQuestion(
        question=number,
        group=str(number),
        asked=[
            {"role": "system", "content": "Give the holder."},
            {"role": "user", "content": f"Copyright {number} Ann"},
        ],
        expected=right,
        answers={
            "Tuned": _given(right if number % 3 else '{"holder": "Bob"}\x1b[2J', number % 3 > 0),
            "BasePlain": _given("no idea" if number % 6 else right, number % 6 == 0),
            "BaseFewShot": _given("", right=False),
        },
    )


def answered(questions: int, arms: tuple[str, ...] = ("Tuned", "BasePlain")) -> bytes:
    """Return the document of a gate of so many questions that these arms were asked."""
    head = AnswersHead(normalization="1", metric="ExactMatch", questions=questions, arms=list(arms))
    found = [answered_question(number) for number in range(1, questions + 1)]
    asked = [one.model_copy(update={"answers": {arm: one.answers[arm] for arm in arms}}) for one in found]
    return to_lines(head, asked)


def _given(text: str, right: bool) -> GivenAnswer:
    return GivenAnswer(answer=text, finish="stop", shortened=False, score=float(right))
