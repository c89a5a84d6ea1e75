"""The additive metrics give what the libraries that people know give. Runs where the trainer's libraries are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.suites import SCHEMA, suite_spec
from tunegate.api.evaluationsuite import MetricName
from tunegate_trainer.data.rows import Row
from tunegate_trainer.evaluation.alternatives import classifier, nearest_neighbor
from tunegate_trainer.evaluation.bootstrap import Resampler
from tunegate_trainer.evaluation.metrics import Bleu, MacroF1, metric_for

pytestmark = pytest.mark.model

LABELS = ["a", "b", "c", "d"]
sentences = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "and", "dog", "ran"]), max_size=12).map(
    " ".join
)


@given(st.lists(st.tuples(sentences, sentences.filter(bool)), min_size=1, max_size=6))
@settings(deadline=None, max_examples=80)
def test_bleu_is_sacrebleus_corpus_bleu(pairs: list[tuple[str, str]]) -> None:
    from sacrebleu import corpus_bleu

    answers, expected = [left for left, _ in pairs], [right for _, right in pairs]
    assert Bleu().of(answers, expected) == pytest.approx(corpus_bleu(answers, [expected]).score / 100, abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=80)
def test_macro_f1_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import f1_score

    answers, expected = [left for left, _ in pairs], [right for _, right in pairs]
    assert MacroF1(LABELS).of(answers, expected) == pytest.approx(
        f1_score(expected, answers, average="macro", zero_division=0)
    )


def test_bootstrap_of_corpus_bleu_is_bleu_of_the_resampled_corpus() -> None:
    from sacrebleu import corpus_bleu

    answers = ["the cat sat on the mat", "a dog ran away from us", "nothing to see here at all", "one two three four"]
    expected = ["the cat sat on a mat", "the dog ran away from us", "nothing to see here", "one two three five"]
    resampler = Resampler(["p", "q", "r", "s"], resamples=25, seed=4)
    metric = Bleu()
    fast = resampler.scores(metric.statistics(answers, expected), metric.score)
    for draw, score in zip(resampler.draws, fast, strict=True):
        chosen = np.repeat(np.arange(4), draw)
        again = corpus_bleu([answers[n] for n in chosen], [[expected[n] for n in chosen]])
        assert score == pytest.approx(again.score / 100, abs=1e-9)


def test_rouge_l_and_schema_validity_on_known_answers() -> None:
    task = suite_spec(task={"type": "Extraction", "jsonSchema": json.dumps(SCHEMA)}).task
    assert metric_for("RougeL", task).of(["the cat sat"], ["the cat sat down"]) == pytest.approx(2 * 0.75 / 1.75)
    valid, wrong, none = '{"holder": "A", "years": "1999"}', '{"holder": "A"}', "holder: A"
    assert metric_for("SchemaValidity", task).of([valid, wrong, none], [valid] * 3) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "number", "multipleOf": 0.1}, "1" + "0" * 400),
        ({"$ref": "#/definitions/again", "definitions": {"again": {"$ref": "#/definitions/again"}}}, "1"),
    ],
)
def test_an_answer_that_a_schema_cannot_be_applied_to_is_not_valid(schema: dict[str, Any], answer: str) -> None:
    """A model may write anything: no answer ends the evaluation."""
    task = suite_spec(task={"type": "Extraction", "jsonSchema": json.dumps(schema)}).task
    assert metric_for("SchemaValidity", task).of([answer], ["1"]) == 0


@pytest.mark.parametrize("metric", ["ExactMatch", "MacroF1", "RougeL", "Bleu"])
def test_every_metric_scores_one_answer_alone(metric: MetricName) -> None:
    expected = ["a b c d", "a b c d", "a b"]
    task = suite_spec(task={"type": "Classification", "labels": [*expected[1:], "a b c e"]}).task

    right, near, short = metric_for(metric, task).each(["a b c d", "a b c e", "a b"], expected)

    assert right == pytest.approx(1)
    assert short == pytest.approx(1), "an answer of few words can be right as well"
    if metric == "RougeL":
        assert near == pytest.approx(0.75)
    elif metric == "Bleu":
        assert 0 < near < 1
    else:
        assert near == 0


def row(number: int, question: str, answer: str) -> Row:
    return Row(number, ({"role": "user", "content": question}, {"role": "assistant", "content": answer}), {})


def test_nearest_neighbor_answers_as_the_most_similar_row() -> None:
    training = [row(1, "red apple on a tree", "fruit"), row(2, "fast car on the road", "vehicle")]
    asked = [row(1, "a green apple", "?"), row(2, "the slow car", "?")]
    assert nearest_neighbor(asked, training) == ["fruit", "vehicle"]


def test_classifier_learns_words_and_survives_a_single_class() -> None:
    training = [row(n, f"apple pear {n}", "fruit") for n in range(10)] + [
        row(n, f"car bus {n}", "vehicle") for n in range(10)
    ]
    assert classifier([row(1, "a pear", "?"), row(2, "one bus", "?")], training) == ["fruit", "vehicle"]
    assert classifier([row(1, "a pear", "?")], training[:10]) == ["fruit"]
