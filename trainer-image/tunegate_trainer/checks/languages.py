"""The languages of a data set: rows in a language that few rows have, and answers in another language than their questions.

py3langid tells 140 languages apart, offline, from a model of 4 MB. Where it is not sure, and of a text of few letters, nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from tunegate_trainer.data.rows import Row

LEAST_LETTERS = 60
"""In shorter texts languages are mistaken for each other."""
LOOKED_AT = 500
"""Characters of a text."""
SURE = 0.9
"""Probability from which a language is believed."""
LEAST = 5
FEW = (0.005, 0.20)
"""Shares of the rows between which a second language is a finding: below it may be a mistake, above it is meant."""
UNKNOWN = ""


def languages(row: Row) -> tuple[str, str]:
    """Return the ISO 639-1 codes of what the user says in a row and of its answer, ``UNKNOWN`` where none is sure."""
    asked = "\n".join(turn["content"] for turn in row.messages if turn["role"] == "user")
    return _language(asked), _language(row.answer)


def _language(text: str) -> str:
    if sum(map(str.isalpha, text[:LOOKED_AT])) < LEAST_LETTERS:
        return UNKNOWN
    code, probability = _identifier().classify(text[:LOOKED_AT])
    return str(code) if probability >= SURE else UNKNOWN


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def mixed(found: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[int]]]:
    """Yield what is odd about rows, and the rows as indexes into ``found``, which has ``languages`` of each."""
    of_row = [asked or answered for asked, answered in found]
    counts = Counter(of_row)
    del counts[UNKNOWN]
    for language, count in sorted(counts.items()):
        if _few(count, counts.total()):
            yield (
                f"are in a language that few rows have ({language})",
                [at for at, each in enumerate(of_row) if each == language],
            )
    pairs = [at for at, pair in enumerate(found) if UNKNOWN not in pair]
    differing = [at for at in pairs if found[at][0] != found[at][1]]
    if _few(len(differing), len(pairs)):
        yield "are answered in another language than they are asked in", differing


def _few(count: int, total: int) -> bool:
    return count >= LEAST and FEW[0] * total <= count <= FEW[1] * total
