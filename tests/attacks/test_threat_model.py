"""docs/threat-model.md lists the attacks that tests try, and its generated appendix names these tests."""

from __future__ import annotations

import re

import pytest

from chores import threat_model_tests as appendix

LISTED = appendix.attacks(appendix.THREAT_MODEL.read_text())
LISTED_FIRST = set(range(1, 39))
"""The attacks that were listed before anything was built; others came later."""
LONGEST_CELL = 300
CELL = re.compile(r"^\| \d+ \|(.+)\|(.+)\|$", re.MULTILINE)


def test_every_attack_is_tried_by_a_test_and_every_marked_test_tries_a_listed_attack() -> None:
    assert set(appendix.marked_tests()) == set(LISTED)


def test_the_attacks_that_were_listed_first_are_still_listed() -> None:
    assert set(LISTED) >= LISTED_FIRST


def test_the_appendix_is_current() -> None:
    assert appendix.APPENDIX.read_text() == appendix.render(LISTED, appendix.marked_tests())


def test_the_check_fails_when_the_appendix_is_out_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    assert appendix.main(["--check"]) == 0
    monkeypatch.setattr(appendix, "HEAD", "# Another page\n")
    assert appendix.main(["--check"]) == 1


def test_every_cell_of_the_table_is_short_enough_to_be_read() -> None:
    cells = [cell.strip() for row in CELL.findall(appendix.THREAT_MODEL.read_text()) for cell in row]
    assert [cell for cell in cells if len(cell) > LONGEST_CELL] == []
