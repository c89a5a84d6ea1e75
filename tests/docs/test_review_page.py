"""docs/review.md explains the words that a reviewer reads on the pages of `tunegate`, and its commands are ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

from tests.support.pages import commands
from tunegate.api.evaluationsuite import ArmName, MetricName
from tunegate.cli.main import parser

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


def test_breaking_the_glass_and_signing_are_understood() -> None:
    """The page's other commands are run in tests/cli; these need a right that nobody has there, and a key."""
    for title in ("Break the glass", "Sign with a key of your own"):
        lines = [shlex.split(line) for line in commands("review.md", title)]
        told = [parser().parse_args(words[1:]) for words in lines if words[0] == "tunegate"]
        assert len(told) == 2
