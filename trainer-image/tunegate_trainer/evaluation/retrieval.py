"""Which training rows, or which texts, are most similar to a question."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate_trainer.data.rows import Row


def nearest_rows(questions: Sequence[Row], training: Sequence[Row], count: int) -> list[list[int]]:
    """Return, for each question, the positions of the ``count`` rows that BM25 ranks first, the best first.

    The last user turns are compared.
    """
    ranked = _ranked(questions, [row.question for row in training], count)
    return [[at for at, _ in found] for found in ranked]


def nearest_texts(questions: Sequence[Row], texts: Sequence[str], count: int) -> list[list[str]]:
    """Return, for each question, up to ``count`` texts that share words with its last user turn, the best first."""
    return [[texts[at] for at, score in found if score > 0] for found in _ranked(questions, texts, count)]


def _ranked(questions: Sequence[Row], texts: Sequence[str], count: int) -> list[list[tuple[int, float]]]:
    """Return positions and scores by BM25 (Robertson and Zaragoza 2009); a score of 0: no word in common."""
    import bm25s

    corpus = bm25s.tokenize(list(texts), stopwords=None, show_progress=False)
    if not corpus.vocab:  # of which the library makes no index
        return [[(at, 0.0) for at in range(min(count, len(texts)))] for _ in questions]
    retriever = bm25s.BM25()
    retriever.index(corpus, show_progress=False)
    asked = bm25s.tokenize([row.question for row in questions], stopwords=None, show_progress=False)
    places, scores = retriever.retrieve(asked, k=min(count, len(texts)), show_progress=False)
    return [
        [(int(at), float(score)) for at, score in zip(*found, strict=True)]
        for found in zip(places, scores, strict=True)
    ]
