"""Rows for tests of the data checks."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate_trainer.data.conversations import ChatTokenizer, ConversationProblem, Encoded
from tunegate_trainer.data.rows import Row


def row(number: int, question: str, answer: str = "yes") -> Row:
    """Return a conversation of one question and one answer."""
    return Row(number, ({"role": "user", "content": question}, {"role": "assistant", "content": answer}), {})


class SpaceTokenizer(ChatTokenizer):
    """Counts what spaces part, where a real tokenizer and its library would only take time."""

    def __init__(self) -> None:
        """Need no folder."""

    def encode(self, row: Row) -> Encoded:
        """Return a one for every word."""
        count = sum(len(text.split()) for text in row.texts)
        return Encoded([1] * count, [1] * count)

    def count(self, rows: Sequence[Row]) -> list[int | ConversationProblem]:
        """Return the words of each row."""
        return [len(self.encode(row).input_ids) for row in rows]

    def count_question(self, question: Row) -> int:
        """Return the words; a question that says `refuse me` is one that the template refuses."""
        if "refuse me" in question.messages[0]["content"]:
            raise ConversationProblem("the chat template refuses it (TemplateError)")
        return len(question.messages[0]["content"].split())
