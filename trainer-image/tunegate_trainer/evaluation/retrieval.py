"""Which training rows are most similar to a question."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate_trainer.data.rows import Row
from tunegate_trainer.evaluation.questions import last_user_turn


def nearest_rows(questions: Sequence[Row], training: Sequence[Row], count: int) -> list[list[int]]:
    """Return, for each question, the positions of the ``count`` rows that BM25 ranks first, the best first.

    Source: Robertson and Zaragoza 2009. The last user turns are compared.
    """
    import bm25s

    retriever = bm25s.BM25()
    corpus = bm25s.tokenize([last_user_turn(row) for row in training], stopwords=None, show_progress=False)
    retriever.index(corpus, show_progress=False)
    asked = bm25s.tokenize([last_user_turn(row) for row in questions], stopwords=None, show_progress=False)
    found, _ = retriever.retrieve(asked, k=min(count, len(training)), show_progress=False)
    return [[int(at) for at in row] for row in found]
