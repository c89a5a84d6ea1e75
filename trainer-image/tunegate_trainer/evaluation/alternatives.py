"""Alternatives that need no language model: the most similar training row, a regular expression, a text classifier.

They cost nothing to run, so a tuned model that does not beat them has not earned its place either.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.api.evaluationsuite import ArmName, EvaluationSuiteSpec
from tunegate_trainer.data.rows import Row
from tunegate_trainer.evaluation.pattern import answer_by_pattern
from tunegate_trainer.evaluation.questions import Suite, Training
from tunegate_trainer.evaluation.retrieval import nearest_rows


def names_of(spec: EvaluationSuiteSpec) -> list[ArmName]:
    """Return the alternatives that a suite asks for."""
    wanted: list[tuple[ArmName, bool]] = [
        ("NearestNeighbor", spec.baselines.nearest_neighbor),
        ("Regex", spec.baselines.regex is not None),
        ("Classifier", spec.baselines.classifier),
    ]
    return [name for name, asked in wanted if asked]


def answer(name: ArmName, spec: EvaluationSuiteSpec, suite: Suite, training: Training) -> list[str]:
    """Return the alternative's answers in the order of the questions."""
    if name == "NearestNeighbor":
        return nearest_neighbor(suite.rows, training.rows)
    if name == "Regex":
        pattern, template = spec.baselines.regex or "", spec.baselines.regex_template or ""
        texts = [row.question for row in suite.rows]
        return answer_by_pattern(pattern, template, texts, json=spec.task.json_schema is not None)
    if name == "Classifier":
        return classifier(suite.rows, training.rows)
    raise ValueError(f"{name} is not an alternative without a language model")


def nearest_neighbor(questions: Sequence[Row], training: Sequence[Row]) -> list[str]:
    """Return, for each question, the answer of the most similar training row."""
    return [training[found[0]].answer for found in nearest_rows(questions, training, 1)]


def classifier(questions: Sequence[Row], training: Sequence[Row]) -> list[str]:
    """Return the class that TF-IDF with logistic regression gives each question; one class alone needs no model."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    answers = [row.answer for row in training]
    if len(set(answers)) == 1:
        return [answers[0]] * len(questions)
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1000)
    )
    model.fit([row.question for row in training], answers)
    return [str(label) for label in model.predict([row.question for row in questions])]
