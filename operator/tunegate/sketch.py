"""Sketches of a suite's questions: how much two suites ask the same, told without their questions.

A suite is the set of the passages that few of its questions have in common (``tunegate_trainer.validation.sketching``). Kept
are those ``SIZE`` with the lowest hash, as in bottom-k MinHash (Cohen and Kaplan, Summarizing data using bottom-k sketches,
2007), each as a slow hash: who reads the ledger can test one guess of a passage at the price of a password.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812
from struct import iter_unpack, pack

SIZE = 64
SAME_EXAM = 0.2
"""Share of the smaller suite's passages that both have, from which a try on one counts on the other."""


@dataclass(frozen=True)
class Sketch:
    """What is kept of a suite's questions."""

    values: frozenset[int]
    """64 bits each; at most ``SIZE``."""
    passages: int
    """How many there are in all."""

    @property
    def text(self) -> str:
        """The sketch as text: number of passages, then the values in base64."""
        return f"{self.passages}:{b64encode(b''.join(pack('>Q', value) for value in sorted(self.values))).decode()}"

    @staticmethod
    def read(text: str) -> Sketch | None:
        """Return the sketch of a text, None for what is none."""
        passages, _, values = text.partition(":")
        try:
            found = frozenset(value for (value,) in iter_unpack(">Q", b64decode(values, validate=True)))
            count = int(passages)
        except (ValueError, StructError):
            return None
        return Sketch(found, count) if len(found) == min(count, SIZE) else None

    def share(self, other: Sketch) -> float:
        """Return the estimated share of the smaller suite's passages that both have.

        Up to ``SIZE`` passages it is exact. Of a larger suite a sketch holds every (passages / SIZE)th.
        """
        smaller = min(self.passages, other.passages)
        if not smaller:
            return 0.0
        larger = max(self.passages, other.passages, SIZE)
        return min(1.0, len(self.values & other.values) * larger / SIZE / smaller)
