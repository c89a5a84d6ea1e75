"""Scores of a set of answers on every metric that a suite decides by or reports."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.api.evaluationsuite import EvaluationSuiteSpec, MetricName
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.metrics import MacroF1, Metric, reported_metrics

MOST_CLASSES = 200


def metrics_of(spec: EvaluationSuiteSpec) -> list[Metric]:
    """Return the suite's metrics, the primary one first. Raises ``BadInput`` for one that the task can't have."""
    names: list[MetricName] = [spec.primary_metric.name, *(guard.name for guard in spec.guardrails)]
    try:
        return reported_metrics(names, spec.task)
    except ValueError as error:
        raise BadInput(f"suite: {error}") from error


def scores(metrics: Sequence[Metric], answers: Sequence[str], expected: Sequence[str]) -> dict[MetricName, float]:
    """Return each metric's score as a fraction."""
    return {metric.name: metric.of(answers, expected) for metric in metrics}


def answered(answers: Sequence[str]) -> int:
    """Return how many answers are not empty: a regular expression that does not match gives an empty one."""
    return sum(bool(answer.strip()) for answer in answers)


def class_scores(metrics: Sequence[Metric], answers: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """Return F1 of each class where macro F1 is among the metrics, of the first ``MOST_CLASSES``; else nothing."""
    found = {
        label: value
        for metric in metrics
        if isinstance(metric, MacroF1)
        for label, value in metric.per_class(answers, expected).items()
    }
    return dict(list(found.items())[:MOST_CLASSES])
