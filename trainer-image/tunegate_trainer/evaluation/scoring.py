"""Scores of a set of answers on every metric that a suite decides by or reports."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunegate.api.evaluationsuite import EvaluationSuiteSpec, MetricName
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.metrics import MacroF1, Metric, reported_metrics


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


def tracked(
    prefix: str, metrics: Sequence[Metric], answers: Sequence[str], expected: Sequence[str]
) -> dict[str, float]:
    """Return the scores under names that MLflow accepts, with F1 of each class beside the mean."""
    named = {f"{prefix}.{metric.name}": metric.of(answers, expected) for metric in metrics}
    for metric in metrics:
        if isinstance(metric, MacroF1):
            for label, value in metric.per_class(answers, expected).items():
                named[f"{prefix}.F1.{re.sub(r'[^A-Za-z0-9_. /-]', '_', label)}"] = value
    return named
