"""Rows of a classification whose label a classifier that never saw them would not have given: confident learning.

Source: Northcutt, Jiang and Chuang, Confident learning (2021): a row counts as another class when its probability there
reaches the mean over that class's own rows. Hard classes make many such rows in honest data, so the odds against the given
label must be high as well. On honest data of 2 to 20 classes at most 0.3 % of the rows were left; of rows with a wrong label
a quarter to a half.
"""

from __future__ import annotations

from typing import Any

import numpy

from tunegate_trainer.checks.likeness import Bags

FOLDS = 3
PER_CLASS = 20
"""Rows of a label, without which it is no class."""
CLASSES = 50
COVERED = 0.9
"""Share of the rows whose answers are such labels, without which the data is no classification."""
ODDS = 20.0
"""Of the other class against the given label."""
NOISE = 0.005
"""Share of surprising rows up to which data counts as honest."""
LEAST = 5
"""Surprising rows that are worth a finding."""


def mislabeled(bags: Bags, answers: Any) -> Any:
    """Return which rows, as indexes, look like another class; none of honest data, and of data that is no classification.

    ``answers``: a hash for each row of the bags. Raises ``ModuleNotFoundError`` for a classification where scikit-learn
    is not installed.
    """
    labels, sizes = numpy.unique(answers, return_inverse=True, return_counts=True)[1:]
    classes = numpy.flatnonzero(sizes >= PER_CLASS)
    if not 2 <= len(classes) <= CLASSES or sizes[classes].sum() < COVERED * len(answers):
        return numpy.empty(0, numpy.int64)
    rows = numpy.flatnonzero(numpy.isin(labels, classes))
    given = numpy.searchsorted(classes, labels[rows])
    probabilities = _probabilities(bags, rows, given)
    expected = numpy.array([probabilities[given == each, each].mean() for each in range(len(classes))])
    own = probabilities[numpy.arange(len(rows)), given]
    other = numpy.where(probabilities >= expected, probabilities, 0.0)
    surprising = (other.max(axis=1) > ODDS * own) & (other.argmax(axis=1) != given)
    return rows[surprising] if surprising.sum() >= max(LEAST, NOISE * len(rows)) else rows[:0]


def _probabilities(bags: Bags, rows: Any, given: Any) -> Any:
    """Return each row's probability of each class, by a classifier that was made without the row."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    words, lengths = bags.take(rows)
    starts = numpy.concatenate([[0], numpy.cumsum(lengths)])
    there = csr_array((numpy.ones(len(words)), words, starts), shape=(len(rows), len(bags.everywhere)))
    return cross_val_predict(
        LogisticRegression(C=10.0, max_iter=200), TfidfTransformer().fit_transform(there), given,
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=17), method="predict_proba",
    )  # fmt: skip
