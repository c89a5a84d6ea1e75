"""Upper tails of the hypergeometric and the binomial distribution, by sums of their terms.

Not by scipy, which is 110 MB: `tunegate plan` runs these checks on laptops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

NEGLIGIBLE = 1e-17
"""Share of a sum below which its falling terms are left out."""


def hypergeometric_tail(drawn_marked: Any, total: int, marked: Any, drawn: Any) -> Any:
    """Return the probability that at least ``drawn_marked`` of ``drawn`` of ``total`` things are among the ``marked``.

    The three that are arrays have one length. Fisher's exact test, one-sided.
    """
    least, marked, drawn = (numpy.asarray(each, numpy.int64) for each in (drawn_marked, marked, drawn))
    # Terms grow up to the mean, and the first of many may be too small for a float: then the rest is summed instead.
    above = least * total > marked * drawn
    of_above = _falling_sum(least, total, marked, drawn)
    of_rest = _falling_sum(drawn - least + 1, total, total - marked, drawn)
    return numpy.clip(numpy.where(above, of_above, 1.0 - of_rest), 0.0, 1.0)


def _falling_sum(least: Any, total: int, marked: Any, drawn: Any) -> Any:
    """Return the sum of the terms from ``least`` on, which is above the mean."""
    logs = numpy.concatenate([[0.0], numpy.cumsum(numpy.log(numpy.arange(1, total + 1)))])

    def choices(things: Any, chosen: Any) -> Any:
        return logs[things] - logs[chosen] - logs[things - chosen]

    at = numpy.maximum(least, numpy.maximum(0, drawn + marked - total))
    last = numpy.minimum(marked, drawn)
    possible = at <= last
    first = numpy.where(possible, at, last)
    log_term = choices(marked, first) + choices(total - marked, drawn - first) - choices(numpy.int64(total), drawn)
    term = numpy.where(possible, numpy.exp(log_term), 0.0)
    chance = term.copy()
    open_ = numpy.flatnonzero(possible & (at < last))
    k = first.astype(float)
    while len(open_):
        here = k[open_]
        ratio = (marked[open_] - here) / (here + 1) * (drawn[open_] - here)
        ratio /= total - marked[open_] - drawn[open_] + here + 1
        term[open_] *= ratio
        chance[open_] += term[open_]
        k[open_] += 1
        more = (k[open_] < last[open_]) & (term[open_] > NEGLIGIBLE * chance[open_])
        open_ = open_[more]
    return chance


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """Return the probability of at least so many successes."""
    logs = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(probability) + (trials - k) * math.log1p(-probability)
        for k in range(max(0, successes), trials + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))
