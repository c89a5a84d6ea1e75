"""docs/review.md explains the words that a reviewer reads on the pages of `tunegate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from tunegate.api.evaluationsuite import ArmName, MetricName

PAGE = (Path(__file__).resolve().parents[2] / "docs/review.md").read_text()
GUIDED = "Guided"


def test_every_alternative_and_every_metric_is_explained() -> None:
    words = PAGE.split("\n## Words\n")[1]
    explained = set(re.findall(r"`(\w+)`", words))

    arms = {name.removesuffix(GUIDED) for name in get_args(ArmName)}
    assert arms | set(get_args(MetricName)) <= explained
    assert f"`…{GUIDED}`" in words


def test_the_section_is_short_enough_to_be_read() -> None:
    words = PAGE.split("\n## Words\n")[1]
    assert 10 <= len(re.findall(r"^- \*\*", words, re.MULTILINE)) <= 15
