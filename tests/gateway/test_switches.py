"""Weights change under load in a gateway of its own process, and no request is lost."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.standins import GOOD, apart
from tests.gateway.switching import NEW, ask_while_weights_change


async def test_no_request_is_lost_or_goes_astray_while_weights_change_a_hundred_times(tmp_path: Path) -> None:
    async with apart(tmp_path) as stage:
        answers = await ask_while_weights_change(stage, switches=100, clients=4)
    assert answers.failures == []
    assert answers.strangers == []
    assert answers.served == {GOOD, NEW}
    assert len(answers.seconds) > 100
