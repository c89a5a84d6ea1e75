"""What a suite of so many questions can show, and how many a margin needs. Pure arithmetic.

Source: sample size for paired proportions (Connor 1987; for language models Miller, arXiv 2411.00640).
"""

from __future__ import annotations

import math

DISCORDANT = 0.25
"""Share of questions that exactly one of two models answers right, as measured in trials."""
Z_TWO_SIDED_5 = 1.959964
Z_POWER_80 = 0.841621


def smallest_visible_gain(questions: int) -> float:
    """Return the difference of two accuracies that a paired test of ``questions`` shows with 80 % power at two-sided 5 %:
    (z_0.975 + z_0.80) * sqrt(discordant / n). With groups, ``questions`` is their number."""
    return min(1.0, (Z_TWO_SIDED_5 + Z_POWER_80) * math.sqrt(DISCORDANT / questions)) if questions else 1.0


def questions_for(margin: float) -> int:
    """Return the least number of questions that shows a gain of ``margin`` (above 0) in that way."""
    return math.ceil(DISCORDANT * ((Z_TWO_SIDED_5 + Z_POWER_80) / margin) ** 2)
