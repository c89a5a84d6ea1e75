"""The answers of a gate as blocks that a person can judge by: question, expected answer, tuned model and an alternative.

What went wrong comes first, and of that what an alternative got right: there lies the reason not to approve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console

from tunegate.api.answers import TUNED, AnsweredQuestion, AnswersHead, GivenAnswer
from tunegate.cli import screen

FIRST = 10
"""Questions that are shown unless all are asked for."""
LINES, CHARACTERS = 6, 400
"""Of a text that is not shown in full."""
RIGHT_OR_WRONG = frozenset({"ExactMatch", "MacroF1", "SchemaValidity"})
"""Metrics by which one answer is right or wrong, and nothing between."""
CUT = "length"


@dataclass(frozen=True)
class Kept:
    """The answers of one job's gate."""

    job: str
    head: AnswersHead
    questions: Sequence[AnsweredQuestion]
    scores: dict[str, float]
    """Of each arm over all questions, as the gate has them."""

    @property
    def alternatives(self) -> list[str]:
        return [arm for arm in self.head.arms if arm != TUNED]

    @property
    def best(self) -> str:
        """The alternative that the gate's metric puts first."""
        return max(self.alternatives, key=lambda arm: self.scores[arm])


def print_page(out: Console, kept: Kept, *, against: str, every: bool, full: bool) -> None:
    """Print the scores of all arms, then the worst questions, or all, with whole texts where ``full``.

    Where the tuned model was not asked, ``against`` stands alone.
    """
    _print_scores(out, kept)
    arms = [arm for arm in (TUNED, against) if arm in kept.head.arms]
    ordered = _worst_first(kept.questions, arms)
    shown = ordered if every else ordered[:FIRST]
    for question in shown:
        _print_question(out, question, arms, kept.head, full=full)
    if len(shown) < len(ordered):
        out.print(f"\n{len(ordered) - len(shown)} more: --all")


def _worst_first(questions: Sequence[AnsweredQuestion], arms: Sequence[str]) -> list[AnsweredQuestion]:
    """Order by the first arm's score; among equals those come first that the other arm answered better."""
    return sorted(questions, key=lambda one: (one.answers[arms[0]].score, -one.answers[arms[-1]].score, one.question))


def _print_scores(out: Console, kept: Kept) -> None:
    screen.heading(out, f"Answers of {kept.job}, marked by {kept.head.metric}")
    rows = []
    for arm in kept.head.arms:
        right = sum(one.answers[arm].score == 1 for one in kept.questions)
        count = f"{right} of {len(kept.questions)} right" if kept.head.metric in RIGHT_OR_WRONG else ""
        rows.append((arm, f"{kept.scores[arm]:.3f}", count, "best alternative" if arm == kept.best else ""))
    screen.table(out, ("arm", "score", "", ""), rows, indent=2)


def _print_question(
    out: Console, question: AnsweredQuestion, arms: Sequence[str], head: AnswersHead, *, full: bool
) -> None:
    """Print one block: what was asked, what was expected, what each arm said and what that is worth."""
    rows: list[tuple[str, str, str]] = []
    for name, text in _asked(question, full=full):
        rows += _rows(name, "", text, full=full)
    rows += _rows("expected", "", question.expected, full=full)
    for arm in arms:
        given = question.answers[arm]
        rows += _rows(arm, _mark(given, head), given.answer, full=full)
        if given.finish == CUT:
            rows.append(("", "", "(cut: the suite allows no longer answer)"))
        if given.shortened:
            rows.append(("", "", "(asked with fewer examples or passages: more did not fit)"))
    out.print()
    screen.heading(out, f"Question {question.question}", _mark(question.answers[arms[0]], head))
    screen.table(out, ("", "", ""), rows, indent=2)


def _asked(question: AnsweredQuestion, *, full: bool) -> Iterator[tuple[str, str]]:
    """Yield the question as names and texts: all turns, or the last one, which is what differs between questions."""
    for turn in question.asked if full else question.asked[-1:]:
        yield (f"asked ({turn.get('role')})" if full else "question"), str(turn.get("content", ""))


def _mark(given: GivenAnswer, head: AnswersHead) -> str:
    if head.metric in RIGHT_OR_WRONG:
        return "right" if given.score == 1 else "wrong"
    return f"{given.score:.3f}"


def _rows(name: str, mark: str, text: str, *, full: bool) -> list[tuple[str, str, str]]:
    """Return one row for each line of a text, with the name before the first."""
    lines = text.split("\n") if full else _shortened(text)
    return [(name, mark, lines[0]), *(("", "", line) for line in lines[1:])]


def _shortened(text: str) -> list[str]:
    """Return the first lines that say something, and how much was left out."""
    start = "\n".join([line for line in text.split("\n") if line.strip()][:LINES])[:CHARACTERS]
    left = len("".join(text.split())) - len("".join(start.split()))
    return [*start.split("\n"), *([f"… {left} more characters: --full"] if left else [])]
