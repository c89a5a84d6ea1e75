"""The metrics, each as statistics that add up over questions.

A metric turns every question into a row of numbers and a sum of rows into one score between 0 and 1. That form serves
means (exact match) and corpus scores (macro F1, BLEU) alike, and lets the bootstrap resample sums instead of answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tunegate.api.evaluationsuite import MetricName, SuiteTask
from tunegate.api.normalization import normalize_label
from tunegate_trainer.evaluation.normalization import same_for
from tunegate_trainer.evaluation.schemas import compile_schema

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEUScore

Array = npt.NDArray[np.float64]


class Metric(ABC):
    """A score over questions. ``statistics`` gives (questions, k); ``score`` maps (..., k) sums to (...) fractions."""

    name: MetricName

    @abstractmethod
    def statistics(self, answers: Sequence[str], expected: Sequence[str]) -> Array:
        """Return one row of additive statistics per question."""

    @abstractmethod
    def score(self, sums: Array) -> Array:
        """Return the score of each sum of rows."""

    def of(self, answers: Sequence[str], expected: Sequence[str]) -> float:
        """Return the score over all questions."""
        return float(self.score(self.statistics(answers, expected).sum(axis=0)))

    def each(self, answers: Sequence[str], expected: Sequence[str]) -> list[float]:
        """Return the score of each question as if it were the only one."""
        return [float(one) for one in self.score(self.statistics(answers, expected))]


class MeanMetric(Metric):
    """A metric that is the mean of one number per question."""

    @abstractmethod
    def value(self, answer: str, expected: str) -> float:
        """Return the number of one question, between 0 and 1."""

    def statistics(self, answers: Sequence[str], expected: Sequence[str]) -> Array:
        rows = [(self.value(answer, right), 1.0) for answer, right in zip(answers, expected, strict=True)]
        return np.asarray(rows, dtype=np.float64).reshape(len(rows), 2)

    def score(self, sums: Array) -> Array:
        return ratio(sums[..., 0], sums[..., 1])


class ExactMatch(MeanMetric):
    """Share of answers that equal the expected one under the rule for the task (``normalization``)."""

    name: MetricName = "ExactMatch"

    def __init__(self, same: Callable[[str, str], bool]) -> None:
        self._same = same

    def value(self, answer: str, expected: str) -> float:
        return float(self._same(answer, expected))


class SchemaValidity(MeanMetric):
    """Share of answers that are JSON and valid under the task's schema."""

    name: MetricName = "SchemaValidity"

    def __init__(self, schema: str) -> None:
        """Raises ``BadInput`` for a schema that is none."""
        self._valid = compile_schema(schema)

    def value(self, answer: str, expected: str) -> float:
        return float(self._valid(answer))


class RougeL(MeanMetric):
    """Mean ROUGE-L F-measure with stemming (rouge-score 0.1.2; Lin 2004)."""

    name: MetricName = "RougeL"

    def __init__(self) -> None:
        from rouge_score.rouge_scorer import RougeScorer

        self._scorer = RougeScorer(["rougeL"], use_stemmer=True)

    def value(self, answer: str, expected: str) -> float:
        return float(self._scorer.score(expected, answer)["rougeL"].fmeasure)


class Bleu(Metric):
    """Corpus BLEU (sacrebleu 2.6, tokenizer 13a, exponential smoothing; Papineni 2002, Post 2018) as a fraction."""

    name: MetricName = "Bleu"
    ORDER = 4

    def statistics(self, answers: Sequence[str], expected: Sequence[str]) -> Array:
        found = self._sentences(answers, expected)
        rows = [[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found]
        return np.asarray(rows, dtype=np.float64).reshape(len(rows), 2 * self.ORDER + 2)

    def each(self, answers: Sequence[str], expected: Sequence[str]) -> list[float]:
        """Return sentence BLEU, which unlike a corpus's counts no runs that an answer is too short for."""
        return [min(1.0, one.score / 100) for one in self._sentences(answers, expected)]

    @staticmethod
    def _sentences(answers: Sequence[str], expected: Sequence[str]) -> list[BLEUScore]:
        from sacrebleu.metrics.bleu import BLEU

        bleu = BLEU(tokenize="13a", smooth_method="exp", effective_order=True)
        return [bleu.sentence_score(answer, [right]) for answer, right in zip(answers, expected, strict=True)]

    def score(self, sums: Array) -> Array:
        """Vectorized ``BLEU.compute_bleu``: zero counts of order n with a total count become 1/2, 1/4, … of one hit."""
        correct, total = sums[..., : self.ORDER], sums[..., self.ORDER : 2 * self.ORDER]
        system, reference = sums[..., -2], sums[..., -1]
        empty = (correct == 0) & (total > 0)
        smoothed = np.where(empty, 0.5 ** np.cumsum(empty, axis=-1), correct)
        usable = (total > 0).all(axis=-1) & (correct > 0).any(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            precisions = np.log(smoothed / total).mean(axis=-1)
            brevity = np.minimum(0.0, 1.0 - reference / system)
            score = np.exp(precisions + brevity)
        return np.asarray(np.where(usable & (system > 0), score, 0.0), dtype=np.float64)


class MacroF1(Metric):
    """Unweighted mean of F1 over the classes that occur, as expected or as answered; anything else is a wrong answer.

    F1 = 2 TP / (2 TP + FP + FN), as scikit-learn's ``f1_score(average="macro")`` has it.
    """

    name: MetricName = "MacroF1"

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._index = {normalize_label(label): at for at, label in enumerate(labels)}

    def statistics(self, answers: Sequence[str], expected: Sequence[str]) -> Array:
        size = len(self.labels)
        rows = np.zeros((len(answers), 3 * size))
        for row, (answer, right) in enumerate(zip(answers, expected, strict=True)):
            given, wanted = self._index.get(normalize_label(answer)), self._index[normalize_label(right)]
            if given == wanted:
                rows[row, wanted] = 1
                continue
            rows[row, 2 * size + wanted] = 1
            if given is not None:
                rows[row, size + given] = 1
        return rows

    def score(self, sums: Array) -> Array:
        per_class, occurs = self._per_class(sums)
        return ratio((per_class * occurs).sum(axis=-1), occurs.sum(axis=-1).astype(np.float64))

    def per_class(self, answers: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
        """Return F1 by label, for labels that occur."""
        values, occurs = self._per_class(self.statistics(answers, expected).sum(axis=0))
        return {label: float(values[at]) for at, label in enumerate(self.labels) if occurs[at]}

    def _per_class(self, sums: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        hits, wrong, missed = np.split(sums, 3, axis=-1)
        weight = 2 * hits + wrong + missed
        return ratio(2 * hits, weight), weight > 0


def ratio(numerator: Array, denominator: Array) -> Array:
    """Divide, with 0 where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, 0.0), dtype=np.float64)


def metric_for(name: MetricName, task: SuiteTask) -> Metric:
    """Return the metric ``name`` for a task. Raises ``ValueError`` when the task lacks what the metric needs."""
    if name == "ExactMatch":
        return ExactMatch(same_for(task))
    if name == "SchemaValidity":
        if not task.json_schema:
            raise ValueError("metric SchemaValidity needs task.jsonSchema")
        return SchemaValidity(task.json_schema)
    if name == "MacroF1":
        if not task.labels:
            raise ValueError("metric MacroF1 needs task.labels: use it with task.type Classification")
        return MacroF1(task.labels)
    return RougeL() if name == "RougeL" else Bleu()


def reported_metrics(names: Sequence[MetricName], task: SuiteTask) -> list[Metric]:
    """Return the metrics of a suite, and beside them those that explain a score: exact match and schema validity."""
    extra: list[MetricName] = ["ExactMatch"]
    if task.json_schema:
        extra.append("SchemaValidity")
    if task.labels:
        extra.append("MacroF1")
    return [metric_for(name, task) for name in dict.fromkeys([*names, *extra])]
