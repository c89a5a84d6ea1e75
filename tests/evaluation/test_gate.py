"""The gate passes what earned its place, fails what did not, and says so when the data cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.suites import suite_spec
from tunegate.api.evaluationsuite import ArmName
from tunegate_trainer.evaluation.bootstrap import Interval
from tunegate_trainer.evaluation.gate import (
    Answers,
    Verdict,
    arm_outcome,
    effective_margin,
    guardrail_outcome,
    judge,
    minimum_outcome,
    worst,
)

fractions = st.floats(-1, 1, allow_nan=False)


def answered(right: int, total: int) -> list[str]:
    """The first ``right`` of ``total`` answers are right."""
    return ["yes"] * right + ["no"] * (total - right)


def judged(
    tuned: Sequence[str],
    arms: dict[ArmName, list[str]],
    *,
    floor: str = "0.05",
    groups: Sequence[str] = (),
    **suite: object,
) -> Verdict:
    total = len(tuned)
    names = groups or [str(n) for n in range(total)]
    return judge(suite_spec(**suite), Answers(["yes"] * total, names, tuned, arms), floor=floor)


def test_clear_gain_over_every_arm_passes() -> None:
    verdict = judged(answered(160, 200), {"BasePlain": answered(10, 200), "Regex": answered(90, 200)})
    assert verdict.outcome == "Pass"
    assert [arm.outcome for arm in verdict.arms] == ["Pass", "Pass"]
    assert verdict.arms[1].difference == pytest.approx(0.35)
    assert verdict.tuned.estimate == pytest.approx(0.8)


@pytest.mark.parametrize("name", ["NearestNeighbor", "Regex", "Classifier", "BaseFewShotGuided"])
def test_one_arm_that_is_better_fails_the_whole(name: ArmName) -> None:
    verdict = judged(answered(160, 200), {"BasePlain": answered(0, 200), name: answered(180, 200)})
    assert verdict.outcome == "Fail"
    assert any(name in reason and "did not earn" in reason for reason in verdict.reasons)


def test_an_alternative_that_answers_nothing_is_no_beaten_rival() -> None:
    verdict = judged(answered(160, 200), {"BasePlain": answered(10, 200), "Regex": [""] * 200})

    assert (verdict.arms[1].answered, verdict.arms[0].answered) == (0, 200)
    assert "Regex matched 0 of 200: it answered nothing, so to beat it says nothing." in verdict.reasons
    assert not any("better than Regex" in reason for reason in verdict.reasons)


def test_gain_that_the_questions_cannot_show_is_inconclusive() -> None:
    tuned = ["yes"] * 12 + ["no"] * 8
    arm = ["no"] * 5 + ["yes"] * 10 + ["no"] * 5
    verdict = judged(tuned, {"BasePlain": arm})
    assert verdict.outcome == "Inconclusive"
    assert "too few" in verdict.reasons[0]


def test_gain_of_exactly_the_margin_is_enough() -> None:
    verdict = judged(answered(110, 200), {"BasePlain": answered(100, 200)})
    assert verdict.arms[0].difference == pytest.approx(0.05)
    assert verdict.arms[0].outcome == "Pass"


def test_policy_raises_a_small_margin_and_never_lowers_a_large_one() -> None:
    spec = suite_spec(primaryMetric={"name": "ExactMatch", "margin": "0.02"})
    assert effective_margin(spec, "0.05") == 0.05
    assert effective_margin(suite_spec(primaryMetric={"name": "ExactMatch", "margin": "0.2"}), "0.05") == 0.2
    metric = {"name": "ExactMatch", "margin": "0.01"}
    arms: dict[ArmName, list[str]] = {"BasePlain": answered(100, 200)}
    assert judged(answered(108, 200), arms, floor="0.01", primaryMetric=metric).outcome == "Pass"
    assert judged(answered(108, 200), arms, floor="0.10", primaryMetric=metric).outcome == "Fail"


def test_minimum_missed_clearly_fails_and_missed_narrowly_is_inconclusive() -> None:
    arms: dict[ArmName, list[str]] = {"BasePlain": answered(0, 200)}
    far = judged(answered(60, 200), arms, primaryMetric={"name": "ExactMatch", "minimum": "0.6"})
    near = judged(answered(118, 200), arms, primaryMetric={"name": "ExactMatch", "minimum": "0.6"})
    assert (far.outcome, near.outcome) == ("Fail", "Inconclusive")
    assert "minimum is missed" in far.reasons[-1]


def test_worse_guardrail_stops_a_pass() -> None:
    expected = ["yes"] * 100 + ["b"] * 100
    suite = suite_spec(
        task={"type": "Classification", "labels": ["yes", "b"]},
        guardrails=[{"name": "MacroF1", "tolerance": "0.02"}],
    )
    arms: dict[ArmName, list[str]] = {"BasePlain": ["b"] * 200, "BaseFewShot": ["yes"] * 100 + ["?"] * 100}
    good = judge(suite, Answers(expected, [str(n) for n in range(200)], expected, arms), floor="0.05")
    assert good.outcome == "Pass"
    assert good.guardrails[0].held
    bad_suite = suite.model_copy(update={"primary_metric": suite.primary_metric.model_copy(update={"margin": "0"})})
    bad = judge(
        bad_suite,
        Answers(expected, [str(n) for n in range(200)], ["?"] * 100 + ["b"] * 100, {"BasePlain": expected}),
        floor="0",
    )
    assert bad.outcome == "Fail"
    assert not bad.guardrails[0].held
    assert any("Guardrail MacroF1" in reason and "worse" in reason for reason in bad.reasons)


def test_questions_of_one_group_count_as_one() -> None:
    tuned = ["yes"] * 40 + ["no"] * 20
    arm = ["no"] * 30 + ["yes"] * 10 + ["no"] * 10 + ["yes"] * 10
    apart = judged(tuned, {"BasePlain": arm})
    together = judged(tuned, {"BasePlain": arm}, groups=[str(n // 10) for n in range(60)])
    width = [verdict.arms[0].upper - verdict.arms[0].lower for verdict in (apart, together)]
    assert width[1] > 1.5 * width[0]
    assert together.groups == 6


def test_comparison_with_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no alternative"):
        judged(answered(1, 2), {})


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=2, max_size=40),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=50)
def test_verdict_does_not_depend_on_the_order_of_questions(rows: list[tuple[bool, bool, bool]], random: object) -> None:
    numbered = [(f"{n:03}", *row) for n, row in enumerate(rows)]
    shuffled = list(numbered)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def verdict(data: list[tuple[str, bool, bool, bool]]) -> Verdict:
        def said(column: int) -> list[str]:
            return ["yes" if row[column] else "no" for row in data]

        return judged(said(1), {"BasePlain": said(2), "Regex": said(3)}, groups=[str(row[0]) for row in data])

    assert verdict(numbered) == verdict(shuffled)


@given(fractions, fractions, fractions, st.floats(0, 1))
def test_outcome_against_an_arm_is_the_rule_as_written(a: float, b: float, c: float, margin: float) -> None:
    lower, estimate, upper = sorted((a, b, c))
    outcome = arm_outcome(Interval(estimate, lower, upper), margin)
    slack = 1e-6
    if outcome == "Pass":
        assert estimate >= margin - slack
        assert lower > 0
    elif outcome == "Fail":
        assert upper < margin
    else:
        assert upper >= margin - slack
        assert estimate < margin or lower <= slack


@given(fractions, fractions, fractions, st.floats(0, 1), st.floats(0, 0.5))
def test_a_harder_rule_never_gives_a_better_outcome(a: float, b: float, c: float, limit: float, more: float) -> None:
    order = {"Fail": 0, "Inconclusive": 1, "Pass": 2}
    lower, estimate, upper = sorted((a, b, c))
    interval = Interval(estimate, lower, upper)
    assert order[arm_outcome(interval, limit + more)] <= order[arm_outcome(interval, limit)]
    assert order[minimum_outcome(interval, limit + more)] <= order[minimum_outcome(interval, limit)]
    assert order[guardrail_outcome(interval, limit)] <= order[guardrail_outcome(interval, limit + more)]


@given(st.lists(st.sampled_from(["Pass", "Fail", "Inconclusive"]), min_size=1))
def test_the_whole_is_as_good_as_its_worst_part(outcomes: list[str]) -> None:
    found = worst(outcomes)  # type: ignore[arg-type]
    expected = "Fail" if "Fail" in outcomes else "Inconclusive" if "Inconclusive" in outcomes else "Pass"
    assert found == expected
