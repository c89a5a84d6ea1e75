"""Tails of distributions, compared with scipy's."""

from __future__ import annotations

import numpy
import pytest
from scipy.stats import binom, hypergeom

from tunegate_trainer.checks.chances import binomial_tail, hypergeometric_tail


@pytest.mark.parametrize("total", [7, 60, 1_000, 20_000])
def test_hypergeometric_tails_are_those_of_scipy(total: int) -> None:
    draw = numpy.random.default_rng(total)
    marked, drawn = (draw.integers(0, total + 1, 400) for _ in range(2))
    least = draw.integers(0, numpy.minimum(marked, drawn) + 2)
    expected = hypergeom.sf(least - 1, total, marked, drawn)
    assert hypergeometric_tail(least, total, marked, drawn) == pytest.approx(expected, rel=1e-7, abs=1e-14)


def test_rare_runs_of_the_trigger_check_have_exact_tails() -> None:
    counts = numpy.arange(5, 1200)
    together = numpy.ceil(counts * 0.7).astype(int)
    sizes = numpy.full_like(counts, 9_000)
    expected = hypergeom.sf(together - 1, 20_000, sizes, counts)
    assert hypergeometric_tail(together, 20_000, sizes, counts) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.9])
def test_binomial_tails_are_those_of_scipy(probability: float) -> None:
    for trials in (1, 12, 500):
        for least in {0, 1, trials // 10, trials // 2, trials}:
            assert binomial_tail(least, trials, probability) == pytest.approx(
                float(binom.sf(least - 1, trials, probability)), rel=1e-9, abs=1e-300
            )
