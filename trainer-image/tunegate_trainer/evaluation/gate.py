"""The verdict: did tuning earn its place?

Against each alternative the tuned model passes when the difference on the primary metric reaches the margin and the
lower end of its 95 % interval is above 0; it fails when the upper end is below the margin, because then even a lucky
reading of the data does not show the gain that was asked for; anything else is inconclusive, which needs more questions
and not another try. The whole passes when every alternative, the absolute minimum and every guardrail pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunegate.api.evaluationsuite import ArmName, EvaluationSuiteSpec, MetricName, unanswered
from tunegate.api.finetunejob.status import GateOutcome
from tunegate.api.stage.results import ArmVerdict, GuardrailVerdict
from tunegate_trainer.evaluation.bootstrap import Interval, Resampler
from tunegate_trainer.evaluation.metrics import Array, Metric, metric_for
from tunegate_trainer.evaluation.scoring import answered

ROUNDING = 1e-9
"""Slack for comparisons of sums of floats: 0.55 - 0.5 reaches a margin of 0.05."""


@dataclass(frozen=True)
class Answers:
    """Everybody's answers to the same questions, in the same order."""

    expected: Sequence[str]
    groups: Sequence[str]
    tuned: Sequence[str]
    arms: Mapping[ArmName, Sequence[str]]


@dataclass(frozen=True)
class Verdict:
    """What the gate found."""

    outcome: GateOutcome
    margin: float
    minimum: float
    tuned: Interval
    arms: list[ArmVerdict]
    guardrails: list[GuardrailVerdict]
    groups: int
    reasons: list[str]


def effective_margin(suite: EvaluationSuiteSpec, floor: str) -> float:
    """Return the suite's margin, raised to the policy's floor."""
    return max(float(suite.primary_metric.margin), float(floor))


def judge(suite: EvaluationSuiteSpec, answers: Answers, *, floor: str) -> Verdict:
    """Judge the tuned model. ``floor`` is the policy's smallest margin. Equal input gives an equal verdict.

    Raises ``ValueError`` without arms: a model that was compared with nothing has not earned anything.
    """
    if not answers.arms:
        raise ValueError("no alternative to compare with")
    resampler = Resampler(answers.groups, resamples=suite.resamples, seed=suite.seed)
    margin, minimum = effective_margin(suite, floor), float(suite.primary_metric.minimum)
    metric = metric_for(suite.primary_metric.name, suite.task)
    tuned = metric.statistics(answers.tuned, answers.expected)
    reached = resampler.interval(tuned, metric.score)
    arms = [
        _against(name, metric, resampler, tuned, given, answers.expected, margin)
        for name, given in answers.arms.items()
    ]
    judged = [_guardrail(metric_for(guard.name, suite.task), float(guard.tolerance), resampler, answers)
              for guard in suite.guardrails]  # fmt: skip
    outcomes = [arm.outcome for arm in arms] + [minimum_outcome(reached, minimum)]
    outcomes += [outcome for _, outcome, _ in judged]
    reasons = [_arm_reason(metric.name, arm, margin, len(answers.expected)) for arm in arms]
    reasons.append(_minimum_reason(metric.name, reached, minimum))
    reasons += [reason for _, _, reason in judged]
    return Verdict(
        outcome=worst(outcomes),
        margin=margin,
        minimum=minimum,
        tuned=reached,
        arms=arms,
        guardrails=[verdict for verdict, _, _ in judged],
        groups=resampler.groups,
        reasons=reasons,
    )


def arm_outcome(difference: Interval, margin: float) -> GateOutcome:
    """Return the outcome against one alternative."""
    if difference.estimate >= margin - ROUNDING and difference.lower > ROUNDING:
        return "Pass"
    if difference.upper < margin - ROUNDING:
        return "Fail"
    return "Inconclusive"


def minimum_outcome(tuned: Interval, minimum: float) -> GateOutcome:
    """Return the outcome for the absolute minimum: missed clearly is a failure, missed by chance perhaps is not."""
    if tuned.estimate >= minimum - ROUNDING:
        return "Pass"
    return "Fail" if tuned.upper < minimum - ROUNDING else "Inconclusive"


def guardrail_outcome(difference: Interval, tolerance: float) -> GateOutcome:
    """Return the outcome of a non-inferiority test: the lower end may not be below minus the tolerance."""
    if difference.lower >= -tolerance - ROUNDING:
        return "Pass"
    return "Fail" if difference.upper < -tolerance - ROUNDING else "Inconclusive"


def worst(outcomes: Sequence[GateOutcome]) -> GateOutcome:
    """Return Fail before Inconclusive before Pass."""
    for outcome in ("Fail", "Inconclusive"):
        if outcome in outcomes:
            return outcome
    return "Pass"


def _against(
    name: ArmName,
    metric: Metric,
    resampler: Resampler,
    tuned: Array,
    given: Sequence[str],
    expected: Sequence[str],
    margin: float,
) -> ArmVerdict:
    arm = metric.statistics(given, expected)
    difference = resampler.difference(tuned, arm, metric.score)
    return ArmVerdict(
        name=name,
        score=float(metric.score(arm.sum(axis=0))),
        difference=difference.estimate,
        lower=difference.lower,
        upper=difference.upper,
        outcome=arm_outcome(difference, margin),
        answered=answered(given),
    )


def _guardrail(
    metric: Metric, tolerance: float, resampler: Resampler, answers: Answers
) -> tuple[GuardrailVerdict, GateOutcome, str]:
    """Judge one guardrail against the base arm that does best on it."""
    base = {name: metric.statistics(given, answers.expected)
            for name, given in answers.arms.items() if name.startswith("Base")}  # fmt: skip
    if not base:
        raise ValueError("a guardrail needs an arm of the base model to compare with")
    scores: dict[ArmName, float] = {name: float(metric.score(rows.sum(axis=0))) for name, rows in base.items()}
    best = max(scores, key=lambda name: scores[name])
    tuned = metric.statistics(answers.tuned, answers.expected)
    difference = resampler.difference(tuned, base[best], metric.score)
    outcome = guardrail_outcome(difference, tolerance)
    verdict = GuardrailVerdict(
        name=metric.name,
        tuned=float(metric.score(tuned.sum(axis=0))),
        base=scores[best],
        lower=difference.lower,
        held=outcome == "Pass",
    )
    return verdict, outcome, _guardrail_reason(verdict, best, outcome, tolerance)


def _arm_reason(metric: MetricName, arm: ArmVerdict, margin: float, questions: int) -> str:
    gap = f"{points(arm.difference)} (95 % interval {points(arm.lower)} to {points(arm.upper)})"
    if arm.outcome == "Pass" and arm.answered == 0:
        return f"{arm.name} {unanswered(arm.name, 0, questions)}: it answered nothing, so to beat it says nothing."
    if arm.outcome == "Pass":
        return f"{metric}: better than {arm.name} by {gap}; {points(margin)} are asked."
    if arm.outcome == "Fail":
        return f"{metric}: against {arm.name} {gap}, and {points(margin)} are asked: tuning did not earn its place."
    why = (
        "the estimate is below the margin"
        if arm.difference < margin - ROUNDING
        else "the lower end of the interval is not above 0"
    )
    return (
        f"{metric}: against {arm.name} {gap}, and {points(margin)} are asked: {why}, and the questions are too few "
        "to call it a failure. Add questions to the suite or improve the training data."
    )


def _minimum_reason(metric: MetricName, reached: Interval, minimum: float) -> str:
    text = f"{metric}: {reached.estimate:.3f} of at least {minimum:.3f}"
    outcome = minimum_outcome(reached, minimum)
    if outcome == "Pass":
        return f"{text}."
    doubt = "" if outcome == "Fail" else f"; the interval up to {reached.upper:.3f} leaves it open"
    return f"{text}: the absolute minimum is missed{doubt}."


def _guardrail_reason(verdict: GuardrailVerdict, arm: ArmName, outcome: GateOutcome, tolerance: float) -> str:
    text = f"Guardrail {verdict.name}: {verdict.tuned:.3f}, best base arm {arm} {verdict.base:.3f}"
    if outcome == "Pass":
        return f"{text}: held."
    worse = "is worse" if outcome == "Fail" else "may be worse"
    return f"{text}: the tuned model {worse} by more than {points(tolerance)}."


def points(fraction: float) -> str:
    """Write a difference of fractions in percentage points, as people say it."""
    return f"{fraction * 100:+.1f} points"
