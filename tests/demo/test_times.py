"""How long stages took, as the demo prints it."""

from __future__ import annotations

import time

import pytest

from tunegate_demo.journey import seconds_of


def test_a_stage_that_runs_while_the_clocks_change_took_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of the API are in UTC, whatever the time zone of the machine."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        stage = {"startTime": "2026-03-29T01:30:00Z", "completionTime": "2026-03-29T02:30:30Z"}
        assert seconds_of(stage) == 3630
        assert seconds_of({"startTime": "2026-03-29T01:30:00Z"}) == 0
    finally:
        monkeypatch.undo()
        time.tzset()
