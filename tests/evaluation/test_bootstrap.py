"""The paired bootstrap agrees with resampling answer by answer, and covers what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunegate_trainer.evaluation.bootstrap import Array, Resampler
from tunegate_trainer.evaluation.metrics import ExactMatch, MacroF1

METRIC = ExactMatch(lambda answer, expected: answer == expected)
LABELS = ["a", "b", "c"]
pairs = st.lists(
    st.tuples(
        st.sampled_from("pqrst"), st.sampled_from(LABELS), st.sampled_from(LABELS), st.sampled_from([*LABELS, "?"])
    ),
    min_size=1,
    max_size=30,
)


def rows(hits: list[float]) -> Array:
    return np.column_stack([hits, np.ones(len(hits))])


@given(pairs)
@settings(deadline=None, max_examples=60)
def test_resampled_sums_are_the_scores_of_the_resampled_answers(data: list[tuple[str, str, str, str]]) -> None:
    groups = [group for group, _, _, _ in data]
    expected = [right for _, right, _, _ in data]
    metric = MacroF1(LABELS)
    left = metric.statistics([answer for _, _, answer, _ in data], expected)
    right = metric.statistics([answer for _, _, _, answer in data], expected)
    resampler = Resampler(groups, resamples=20, seed=5)
    fast = resampler.scores(left, metric.score) - resampler.scores(right, metric.score)
    names = sorted(set(groups))
    for draw, difference in zip(resampler.draws, fast, strict=True):
        again = [
            row for name, count in zip(names, draw, strict=True) for row in data if row[0] == name for _ in range(count)
        ]
        wanted = [row[1] for row in again]
        slow = metric.of([row[2] for row in again], wanted) - metric.of([row[3] for row in again], wanted)
        assert difference == pytest.approx(slow)


def test_interval_agrees_with_scipy_when_every_question_is_its_own_group() -> None:
    from scipy import stats  # takes a second to import

    generator = np.random.default_rng(3)
    tuned, base = generator.random(150) < 0.7, generator.random(150) < 0.5
    left, right = rows(list(tuned.astype(float))), rows(list(base.astype(float)))
    ours = Resampler([str(n) for n in range(150)], resamples=20_000, seed=1).difference(left, right, METRIC.score)
    difference = tuned.astype(float) - base
    theirs = stats.bootstrap((difference,), np.mean, n_resamples=20_000, method="percentile", rng=2)
    assert ours.estimate == pytest.approx(difference.mean())
    assert ours.lower == pytest.approx(theirs.confidence_interval.low, abs=0.011)
    assert ours.upper == pytest.approx(theirs.confidence_interval.high, abs=0.011)


def test_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    left, right = rows([1, 1, 0, 1, 0, 1]), rows([0, 1, 0, 0, 0, 1])
    groups = list("aabbcd")
    first, again, other = (Resampler(groups, resamples=500, seed=seed).scores(left, METRIC.score) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert Resampler(groups, resamples=500, seed=1).difference(left, right, METRIC.score).estimate == pytest.approx(
        1 / 3
    )


def test_copies_of_one_document_do_not_narrow_the_interval() -> None:
    generator = np.random.default_rng(8)
    hits = list((generator.random(30) < 0.5).astype(float))
    single = Resampler([str(n) for n in range(30)], resamples=4000, seed=1).interval(rows(hits), METRIC.score)
    copied = Resampler([str(n) for n in range(30) for _ in range(5)], resamples=4000, seed=1).interval(
        rows([hit for hit in hits for _ in range(5)]), METRIC.score
    )
    assert copied == pytest.approx((single.estimate, single.lower, single.upper)) or (
        copied.lower == pytest.approx(single.lower) and copied.upper == pytest.approx(single.upper)
    )


def test_interval_holds_the_truth_about_as_often_as_promised() -> None:
    generator = np.random.default_rng(11)
    held = 0
    for trial in range(200):
        hits = list((generator.random(120) < 0.6).astype(float))
        interval = Resampler([str(n) for n in range(120)], resamples=1000, seed=trial).interval(
            rows(hits), METRIC.score
        )
        held += interval.lower <= 0.6 <= interval.upper
    assert 0.90 <= held / 200 <= 0.99


def test_no_question_is_refused() -> None:
    with pytest.raises(ValueError, match="no question"):
        Resampler([], resamples=1000, seed=1)
