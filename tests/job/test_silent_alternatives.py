"""An alternative that had no answer to most questions, or to any, does not look like a beaten rival: in status, page and evidence."""

from __future__ import annotations

import pytest

from tests.support import stage_documents
from tests.support.builders import make_finetunejob
from tunegate.api.evaluationsuite import told_outcome, unanswered
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.results import ArmResult
from tunegate.reconcile.finetunejob.results import Verdict, read

JOB = FineTuneJob.model_validate(make_finetunejob())


@pytest.mark.parametrize(
    ("answered", "short", "outcome"),
    [
        (0, "matched 0 of 80", "says nothing: matched 0 of 80"),
        (60, "matched 60 of 80", "Pass, matched 60 of 80"),
        (80, None, "Pass"),
        (None, None, "Pass"),
    ],
)
def test_on_how_few_questions_an_alternative_had_an_answer(
    answered: int | None, short: str | None, outcome: str
) -> None:
    assert unanswered("Regex", answered, 80) == short
    assert told_outcome("Regex", "Pass", answered, 80) == outcome


def test_a_model_that_kept_silent_answered_instead_of_matched() -> None:
    assert unanswered("BasePlain", 3, 80) == "answered 3 of 80"


def evaluated(answered: int) -> Verdict:
    result = stage_documents.evaluated()
    return read(
        JOB, result.model_copy(update={"arms": [result.arms[0].model_copy(update={"answered": answered})]}), "EUR"
    )


def test_the_message_and_the_gate_name_a_regular_expression_that_matched_nothing() -> None:
    silent, full = evaluated(0), evaluated(112)

    assert silent.final is not None
    assert "Regex (matched 0 of 112) answered nothing: to beat it says nothing." in silent.final.message
    assert [arm.answered for arm in silent.update["gate"].arms] == [0]
    assert full.final is not None
    assert "answered nothing" not in full.final.message


def test_the_baseline_says_it_before_anything_is_trained() -> None:
    silent = ArmResult(name="Regex", scores={"ExactMatch": 0.0}, answered=0, seconds=0.1)
    result = stage_documents.baselined()

    summary = read(JOB, result.model_copy(update={"arms": [*result.arms, silent]}), "EUR").summary

    assert "Regex (matched 0 of 112) ExactMatch 0.000" in summary
    assert "BasePlain ExactMatch 0.000" in summary
