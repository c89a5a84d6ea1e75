"""Probes an adapter that the engine holds: recorded answers must score as they did at evaluation (``tunegate.probes``)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tunegate.api.modelserver import LeftOutCause
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.api.stage.probe import Probe, ProbeItem
from tunegate.gateway.engine import Engine, EngineFailure
from tunegate.probes import Scored, drive, matches, score_answer

TRIES = 3
"""Probes that could not be asked to the end."""
PAUSE_SHARE = 0.5
"""While clients are being answered a pause follows each score, so long in times of what it took."""
LONGEST_PAUSE_SECONDS = 1.0
MOST_SCORES = 4096
QUIET_SECONDS = 30.0
"""So long a second asking waits until no client is being answered."""


@dataclass(frozen=True)
class Verdict:
    """What a probe said; no reason: the adapter is the evaluated one."""

    reason: str = ""
    cause: LeftOutCause | None = None


class Judge:
    """Asks the engine. ``busy`` tells whether clients are being answered, ``quiet`` waits for the end of that, for seconds."""

    def __init__(self, engine: Engine, busy: Callable[[], bool], quiet: Callable[[float], Awaitable[bool]]) -> None:
        self._engine = engine
        self._busy = busy
        self._quiet = quiet
        self._base_scores: dict[str, float] = {}
        """What the base model scored for an answer since the engine was started: an adapter that comes back asks only itself."""

    def forget(self) -> None:
        """Forget what was found out about an engine that is gone."""
        self._base_scores = {}

    async def judge(self, name: str, probe: Probe) -> Verdict:
        """Probe one adapter, while clients are answered by others. Raises ``EngineFailure`` when the engine itself went away.

        What scores otherwise beside clients is asked once more, in a quiet moment where there is one: with bfloat16 a
        score depends a little on what else is in the engine's batch.
        """
        disturbed = self._busy()
        verdict = await self._ask(name, probe)
        if verdict.cause == "Probe" and (disturbed or self._busy()):
            await self._quiet(QUIET_SECONDS)
            verdict = await self._ask(name, probe)
        return verdict

    async def _ask(self, name: str, probe: Probe) -> Verdict:
        reason = ""
        for _ in range(TRIES):
            try:
                verdict = matches(probe, await self._score(name, probe))
            except (EngineFailure, ValueError) as error:
                if not await self._engine.healthy():
                    raise EngineFailure(str(error)) from error
                reason = f"the probe could not be asked: {error}"
                continue
            return Verdict() if verdict.matched else Verdict(verdict.reason, "Probe")
        return Verdict(reason, "ProbeUnanswered")

    async def _score(self, name: str, probe: Probe) -> list[Scored]:
        """Score every recorded answer under the adapter and under the base, one after the other: clients wait for one at most."""
        return [
            Scored(
                tuned=await self._score_one(name, item),
                base=await self._base(item),
            )
            for item in probe.items
        ]

    async def _base(self, item: ProbeItem) -> float:
        asked, scores = item.model_dump_json(include={"messages", "answer"}), self._base_scores
        if asked not in scores:
            score = await self._score_one(BASE_SERVED_NAME, item)
            if len(scores) >= MOST_SCORES:
                scores.clear()
            scores[asked] = score
        return scores[asked]

    async def _score_one(self, model: str, item: ProbeItem) -> float:
        """Score one answer, and then leave the engine to clients for a while: each score takes a whole prompt's work."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        score = await drive(score_answer(model, item.messages, item.answer), self._engine.ask)
        if self._busy():
            await asyncio.sleep(min(PAUSE_SHARE * (loop.time() - begun), LONGEST_PAUSE_SECONDS))
        return score
