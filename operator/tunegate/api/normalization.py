"""When two texts or two labels count as the same, at the gate and in suites: one rule, with a version that goes into the evidence.

Text: Unicode NFC, white space at the ends dropped, runs of white space made one space; case counts. Labels: the same,
then case folded and one full stop at the end dropped. How answers in JSON are compared: ``tunegate_trainer.evaluation.normalization``.
"""

from __future__ import annotations

import unicodedata

NORMALIZATION = "tunegate/1"


def normalize_text(text: str) -> str:
    """Return ``text`` in NFC with white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def normalize_label(text: str) -> str:
    """Return ``text`` as a class label."""
    return normalize_text(text).removesuffix(".").rstrip().casefold()
