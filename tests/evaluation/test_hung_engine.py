"""An engine that takes questions and never answers, as vLLM does whose worker hangs: the stage notices, and so does the operator."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.silent_server import silent_server
from tunegate_trainer.endings import Unavailable
from tunegate_trainer.evaluation import engine
from tunegate_trainer.evaluation.engine import Ask, Engine
from tunegate_trainer.progress import ProgressBoard

ASKS = [Ask([[{"role": "user", "content": "Who?"}]], 8)] * 3


async def test_a_hung_engine_ends_the_stage_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next attempt, in a pod of its own, begins with a new engine."""
    monkeypatch.setattr(engine, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(engine, "ATTEMPTS", 2)
    with silent_server() as server:
        async with Engine(f"http://{server.host}") as asking:
            with pytest.raises(Unavailable, match="the engine fails on /v1/chat/completions: ReadTimeout"):
                await asking.ask_all("base", ASKS, seed=1)


async def test_a_stage_whose_engine_hangs_shows_that_nothing_goes_on() -> None:
    """What ``limits.maxSecondsWithoutProgress`` looks at, whatever the client's own patience."""
    board = ProgressBoard("Baseline")
    with silent_server() as server:
        async with Engine(f"http://{server.host}") as asking:
            board.show(0, "asking BasePlain", step=0, total_steps=3)
            hanging = asyncio.create_task(asking.ask_all("base", ASKS, seed=1, seen=lambda done: board.show(done)))
            await asyncio.to_thread(server.wait_for, len(ASKS))
            board.latest()
            await asyncio.sleep(1.1)
            assert board.latest().unchanged_seconds >= 1
            assert (board.latest().stage, board.latest().step) == ("Baseline", 0)
            assert not hanging.done()
            hanging.cancel()
