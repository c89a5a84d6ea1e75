"""A loop beside the reconciles survives any surprise, and says so."""

from __future__ import annotations

import pytest

from tunegate.runtime import metrics
from tunegate.runtime.supervision import supervise


async def test_a_surprise_is_logged_and_counted_and_the_loop_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    left = [KeyError("x-amz-object-lock-retain-until-date"), TimeoutError("signing"), None]

    async def run() -> None:
        if (error := left.pop(0)) is not None:
            raise error

    counter = metrics.SIDE_LOOP_FAILURES.labels("a loop of a test")
    await supervise("a loop of a test", run, first_pause=0.0)

    assert counter._value.get() == 2
    assert left == []
    assert ["a loop of a test failed and begins again in 0 s"] * 2 == [one.getMessage() for one in caplog.records]
