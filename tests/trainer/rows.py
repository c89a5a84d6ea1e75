"""Rows for tests of the data checks."""

from __future__ import annotations

from tunegate_trainer.data.rows import Row


def row(number: int, question: str, answer: str = "yes") -> Row:
    """Return a conversation of one question and one answer."""
    return Row(number, ({"role": "user", "content": question}, {"role": "assistant", "content": answer}), {})
